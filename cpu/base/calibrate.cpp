// SPDX-License-Identifier: Apache-2.0
#include "cpu/base/calibrate.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <vector>

#include "cpu/base/pool.h"
#include "math/lane.h"

namespace s3d {
namespace {

double seconds_of(auto&& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

double calibrate_gflops() {
  constexpr int kChains = 10, kRounds = 400000, kRepeats = 5;
  const int threads = num_threads();
  std::vector<float> sink(threads);
  double best = 1e30;
  for (int repeat = 0; repeat < kRepeats; ++repeat)
    best = std::min(best, seconds_of([&] {
                      for_blocks(threads, [&](int block) {
                        Lane chain[kChains];
                        for (int i = 0; i < kChains; ++i) chain[i] = Lane(static_cast<float>(i + block));
                        const Lane factor(0.999f), addend(1e-3f);
                        for (int round = 0; round < kRounds; ++round)
                          for (Lane& c : chain) c = c * factor + addend;
                        float sum = 0.0f;
                        for (const Lane& c : chain) sum += horizontal_sum(c);
                        sink[block] = sum;
                      });
                    }));
  return 2.0 * kChains * kRounds * kLanes * threads / best * 1e-9;
}

double calibrate_copy_gbytes() {
  constexpr std::size_t kBytes = 32u << 20;
  constexpr int kRepeats = 5;
  const int threads = num_threads();
  std::vector<char> from(kBytes, 1), to(kBytes);
  double best = 1e30;
  for (int repeat = 0; repeat < kRepeats; ++repeat)
    best = std::min(best, seconds_of([&] {
                      for_blocks(threads, [&](int block) {
                        const std::size_t share = kBytes / threads;
                        std::memcpy(to.data() + block * share, from.data() + block * share, share);
                      });
                    }));
  return 2.0 * static_cast<double>(kBytes) / best * 1e-9;
}

}  // namespace s3d
