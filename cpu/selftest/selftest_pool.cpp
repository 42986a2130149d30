// SPDX-License-Identifier: Apache-2.0
// The thread pools: every block once, whoever calls and whatever is resized meanwhile. Counts are plain integers, so
// that a thread sanitizer sees a block that runs twice, and a caller that does not wait for all of its blocks.
#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include "cpu/base/pool.h"
#include "cpu/selftest/selftest.h"

namespace s3d::selftest {
namespace {

constexpr int kBlocks = 97;

// One call of for_blocks; whether each block ran exactly once.
bool each_once(int blocks = kBlocks) {
  std::vector<int> runs(blocks);
  for_blocks(blocks, [&](int block) { ++runs[block]; });
  return std::count(runs.begin(), runs.end(), 1) == blocks;
}

// Calls of a thread, over and over until `stop`; at least one.
struct Loop {
  std::atomic<bool> stop{false};
  std::atomic<int> calls{0}, wrong{0};

  void operator()() {
    do {
      wrong += !each_once();
      ++calls;
    } while (!stop);
  }
};

void check_resizing(Report& report) {
  set_num_threads(3);
  Loop first, second;
  std::thread a([&] { first(); }), b([&] { second(); });
  bool in_force = true;
  for (int i = 0; i < 200; ++i) {
    const int wanted = 1 + (5 * i + 3) % 4;
    in_force = in_force && set_num_threads(wanted) == wanted;
    // Some numbers hold for a few calls, most are changed at once.
    for (const int calls = first.calls; i % 8 == 0 && first.calls < calls + 2;) std::this_thread::yield();
  }
  first.stop = second.stop = true;
  a.join();
  b.join();
  report.holds("pool: the number of threads that was asked for is in force", in_force);
  report.holds("pool: every block once while others change the number of threads",
               first.wrong == 0 && second.wrong == 0 && first.calls > 25);
}

void check_turns(Report& report) {
  set_num_threads(3);
  int fewest[2] = {};
  bool good[2] = {true, true};
  std::vector<std::thread> callers;
  for (int i = 0; i < 2; ++i)
    callers.emplace_back([&fewest, &good, i] {
      for (int call = 0; call < 200; ++call) good[i] = each_once() && good[i];
      fewest[i] = take_fewest_threads();
    });
  for (auto& caller : callers) caller.join();
  report.holds("pool: two callers at once, every block once", good[0] && good[1]);
  report.holds("pool: two callers take turns, each with all threads", fewest[0] == 3 && fewest[1] == 3);
}

void check_shares(Report& report) {
  set_num_threads(3);
  Loop trainer;
  int trainer_threads = 0;
  std::thread thread([&] {
    trainer();
    trainer_threads = take_fewest_threads();
  });
  bool good = true;
  take_fewest_threads();
  for (const int share : {1, 2, 4, 1}) {
    set_caller_threads(share);
    for (int call = 0; call < 50; ++call) good = each_once() && good;
    good = good && num_threads() == share && take_fewest_threads() == share;
  }
  const int last = set_caller_threads(0);
  trainer.stop = true;
  thread.join();
  report.holds("pool: a caller with a share runs on that share", good && last == 1 && num_threads() == 3);
  report.holds("pool: others keep all threads beside it", trainer.wrong == 0 && trainer_threads == 3);
}

void check_nested(Report& report) {
  set_num_threads(3);
  std::vector<int> good(7);
  for_blocks(7, [&](int block) { good[block] = each_once(5); });
  report.holds("pool: blocks within blocks", std::count(good.begin(), good.end(), 1) == 7);
}

}  // namespace

void check_pool(Report& report) {
  bool good = true;
  for (const int threads : {1, 2, 3, 5}) {
    set_num_threads(threads);
    for (const int blocks : {0, 1, 2, 3, kBlocks, 1000}) good = good && each_once(blocks);
  }
  report.holds("pool: every block once for 1 to 5 threads", good);
  check_resizing(report);
  check_turns(report);
  check_shares(report);
  check_nested(report);
  set_num_threads(1);
}

}  // namespace s3d::selftest
