// SPDX-License-Identifier: Apache-2.0
// A tree over vectors, grown cell by cell: the start of clustering, and an order in which alike vectors are neighbours.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "cpu/base/pool.h"
#include "cpu/compress/kmeans.h"
#include "cpu/compress/kmeans_rows.h"
#include "math/kmeans.h"

namespace s3d {
namespace {

// The axis of a larger cell is estimated from about so many of its vectors.
constexpr std::int64_t kSample = 2048;
constexpr int kPowerSteps = 6;

struct Cell {
  std::int32_t begin, end;
  double error = 0.0;  // Sum of w |x - mean|^2.

  std::int32_t size() const { return end - begin; }
};

struct Projected {
  float place;
  std::int32_t vector;
};

class Splitter {
 public:
  Splitter(const Rows& vectors, const float* weights, std::uint32_t seed, std::int32_t* order)
      : vectors_(vectors),
        weights_(weights),
        seed_(seed),
        order_(order),
        mean_(vectors.stride),
        axis_(vectors.stride),
        next_(vectors.stride),
        sum_(vectors.dim) {}

  // Sets mean_ and returns the cell's error.
  double measure(const Cell& cell) {
    std::fill(sum_.begin(), sum_.end(), 0.0);
    double total = 0.0;
    for (std::int32_t k = cell.begin; k < cell.end; ++k) {
      const double w = weight(order_[k]);
      const float* x = vectors_[order_[k]];
      for (int d = 0; d < vectors_.dim; ++d) sum_[d] += w * x[d];
      total += w;
    }
    if (!(total > 0.0)) return 0.0;
    for (int d = 0; d < vectors_.dim; ++d) mean_[d] = static_cast<float>(sum_[d] / total);
    double error = 0.0;
    float farthest = -1.0f;
    for (std::int32_t k = cell.begin; k < cell.end; ++k) {
      const float distance = squared_distance(vectors_[order_[k]], mean_.data(), vectors_.stride);
      error += weight(order_[k]) * distance;
      if (distance > farthest) {
        farthest = distance;
        farthest_ = order_[k];
      }
    }
    return error;
  }

  // Reorders the cell's vectors along its principal axis and returns where its second half begins.
  std::int32_t split(const Cell& cell) {
    measure(cell);
    find_axis(cell);
    places_.resize(static_cast<std::size_t>(cell.size()));
    const float offset = dot(mean_.data(), axis_.data(), vectors_.stride);
    for (std::int32_t k = cell.begin; k < cell.end; ++k)
      places_[static_cast<std::size_t>(k - cell.begin)] = {
          dot(vectors_[order_[k]], axis_.data(), vectors_.stride) - offset, order_[k]};
    std::sort(places_.begin(), places_.end(), [](const Projected& a, const Projected& b) {
      return a.place < b.place || (a.place == b.place && a.vector < b.vector);
    });
    for (std::size_t i = 0; i < places_.size(); ++i) order_[cell.begin + static_cast<int>(i)] = places_[i].vector;
    return cell.begin + cut();
  }

 private:
  double weight(std::int32_t i) const { return weights_ != nullptr ? weights_[i] : 1.0; }

  // Power iteration from the direction of the farthest vector.
  void find_axis(const Cell& cell) {
    const int stride = vectors_.stride;
    const std::int64_t step = std::max<std::int64_t>(1, cell.size() / kSample);
    const std::int64_t first = cell.begin + (seed_ + static_cast<std::uint64_t>(cell.begin)) % step;
    subtract(vectors_[farthest_], axis_.data());
    for (int turn = 0; turn < kPowerSteps; ++turn) {
      std::fill(next_.begin(), next_.end(), 0.0f);
      for (std::int64_t k = first; k < cell.end; k += step) {
        const float* x = vectors_[order_[k]];
        Lane along(0.0f);
        for (int d = 0; d < stride; d += kLanes)
          along += (Lane::load(x + d) - Lane::load(&mean_[d])) * Lane::load(&axis_[d]);
        const Lane share(static_cast<float>(weight(order_[k])) * horizontal_sum(along));
        for (int d = 0; d < stride; d += kLanes)
          (Lane::load(&next_[d]) + share * (Lane::load(x + d) - Lane::load(&mean_[d]))).store(&next_[d]);
      }
      const float length = std::sqrt(dot(next_.data(), next_.data(), stride));
      // Too small or too large for float: the direction so far has to do.
      if (!(length > 0.0f) || !std::isfinite(length)) break;
      for (int d = 0; d < stride; ++d) axis_[d] = next_[d] / length;
    }
  }

  void subtract(const float* x, float* out) const {
    for (int d = 0; d < vectors_.stride; ++d) out[d] = x[d] - mean_[d];
  }

  // How many of places_ make the first half, so that both halves' errors along the axis are least; 1 .. size - 1.
  std::int32_t cut() const {
    double all[3] = {}, left[3] = {};
    for (const Projected& p : places_) add(all, p);
    double least = 0.0;
    std::size_t best = 0;
    for (std::size_t i = 0; i + 1 < places_.size(); ++i) {
      add(left, places_[i]);
      const double error = interval_error(left[0], left[1], left[2]) +
                           interval_error(all[0] - left[0], all[1] - left[1], all[2] - left[2]);
      if (best == 0 || error < least) {
        least = error;
        best = i + 1;
      }
    }
    return static_cast<std::int32_t>(best);
  }
  void add(double* sums, const Projected& p) const {
    const double w = weight(p.vector), x = p.place;
    sums[0] += w;
    sums[1] += w * x;
    sums[2] += w * x * x;
  }

  const Rows& vectors_;
  const float* weights_;
  std::uint32_t seed_;
  std::int32_t* order_;
  std::vector<float> mean_, axis_, next_;
  std::vector<double> sum_;
  std::vector<Projected> places_;
  std::int32_t farthest_ = 0;
};

}  // namespace

std::int64_t kmeans_split(const Rows& vectors, const float* weights, std::int64_t count, std::uint32_t seed,
                          std::int32_t* order, std::int32_t* starts) {
  if (vectors.count == 0 || count < 1) return 0;
  std::iota(order, order + vectors.count, 0);
  std::vector<Cell> cells = {{0, static_cast<std::int32_t>(vectors.count)}};
  cells[0].error = Splitter(vectors, weights, seed, order).measure(cells[0]);
  for (;;) {
    // A quarter of the cells at a time, those with the largest errors: nearly the order of one at a time.
    std::vector<std::int32_t> chosen;
    for (std::size_t i = 0; i < cells.size(); ++i)
      if (cells[i].error > 0.0 && cells[i].size() > 1) chosen.push_back(static_cast<std::int32_t>(i));
    const std::int64_t room = count - static_cast<std::int64_t>(cells.size());
    const auto wanted = static_cast<std::size_t>(std::min<std::int64_t>(
        {room, static_cast<std::int64_t>(cells.size() + 3) / 4, static_cast<std::int64_t>(chosen.size())}));
    if (wanted == 0) break;
    std::sort(chosen.begin(), chosen.end(), [&](std::int32_t a, std::int32_t b) {
      const Cell &x = cells[a], &y = cells[b];
      return x.error > y.error || (x.error == y.error && x.begin < y.begin);
    });
    chosen.resize(wanted);
    const std::size_t before = cells.size();
    cells.resize(before + wanted);
    constexpr std::size_t kStep = 16;
    for_blocks(static_cast<int>((wanted + kStep - 1) / kStep), [&](int block) {
      Splitter splitter(vectors, weights, seed, order);
      for (std::size_t i = block * kStep; i < std::min((block + 1) * kStep, wanted); ++i) {
        Cell &first = cells[chosen[i]], &second = cells[before + i];
        const std::int32_t middle = splitter.split(first);
        second = {middle, first.end};
        first.end = middle;
        first.error = splitter.measure(first);
        second.error = splitter.measure(second);
      }
    });
  }
  std::sort(cells.begin(), cells.end(), [](const Cell& a, const Cell& b) { return a.begin < b.begin; });
  for (std::size_t i = 0; i < cells.size(); ++i) starts[i] = cells[i].begin;
  starts[cells.size()] = static_cast<std::int32_t>(vectors.count);
  return static_cast<std::int64_t>(cells.size());
}

}  // namespace s3d
