// SPDX-License-Identifier: Apache-2.0
#include "cpu/compress/grid_order.h"

#include <algorithm>
#include <atomic>
#include <numeric>
#include <vector>

#include "cpu/base/pool.h"
#include "cpu/raster/lane_sums.h"
#include "math/lane.h"

namespace s3d {
namespace {

// Numbers of a block (Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators").
struct Random {
  std::uint64_t state;

  std::uint32_t below(std::uint32_t limit) {
    std::uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return static_cast<std::uint32_t>(((z ^ (z >> 31)) >> 32) * limit >> 32);
  }
};

// A running box sum along a line of cells: `step` floats from one to the next. Cells in use from the first on; the
// window is cut at the ends, and divided by what is left of it.
void filter_line(const float* in, float* out, int length, std::ptrdiff_t step, int radius) {
  Lane sum[kGridStride / kLanes];
  for (int c = 0; c < kGridStride; c += kLanes) sum[c / kLanes] = Lane(0.0f);
  int cells = 0;
  for (int i = -radius; i < length; ++i) {
    const int enters = i + radius, leaves = i - radius - 1;
    if (enters < length) {
      for (int c = 0; c < kGridStride; c += kLanes) sum[c / kLanes] += Lane::load(in + enters * step + c);
      ++cells;
    }
    if (leaves >= 0) {
      for (int c = 0; c < kGridStride; c += kLanes) sum[c / kLanes] -= Lane::load(in + leaves * step + c);
      --cells;
    }
    if (i < 0) continue;
    const Lane share(1.0f / static_cast<float>(cells));
    for (int c = 0; c < kGridStride; c += kLanes) (sum[c / kLanes] * share).store(out + i * step + c);
  }
}

class Round {
 public:
  Round(const Grid& grid, int radius, std::int32_t* cells, float* scratch)
      : grid_(grid),
        radius_(radius),
        cells_(cells),
        target_(scratch),
        other_(scratch + static_cast<std::ptrdiff_t>(grid.width) * grid.height * kGridStride) {}

  void filter() {
    const int w = grid_.width;
    const std::ptrdiff_t row = static_cast<std::ptrdiff_t>(w) * kGridStride;
    for_blocks(rows(), [&](int y) {
      for (int x = 0; x < columns(y); ++x)
        std::copy_n(grid_.features + static_cast<std::ptrdiff_t>(cells_[y * w + x]) * kGridStride, kGridStride,
                    target_ + y * row + x * kGridStride);
    });
    for (int turn = 0; turn < 2; ++turn) {
      for_blocks(rows(),
                 [&](int y) { filter_line(target_ + y * row, other_ + y * row, columns(y), kGridStride, radius_); });
      for_blocks(std::min<int>(w, static_cast<int>(grid_.count)), [&](int x) {
        const int height = rows() - (x < columns(rows() - 1) ? 0 : 1);
        filter_line(other_ + x * kGridStride, target_ + x * kGridStride, height, row, radius_);
      });
    }
  }

  std::int64_t sweep(std::uint64_t seed) {
    const int side = std::max(radius_ + 1, 8);
    Random random{seed};
    const int x0 = -static_cast<int>(random.below(static_cast<std::uint32_t>(side)));
    const int y0 = -static_cast<int>(random.below(static_cast<std::uint32_t>(side)));
    const int across = (grid_.width - x0 + side - 1) / side, down = (grid_.height - y0 + side - 1) / side;
    std::atomic<std::int64_t> moved{0};
    for_blocks(across * down, [&](int block) {
      Random own{seed ^ (0x632be59bd9b4e019u * static_cast<std::uint64_t>(block + 1))};
      moved += arrange(x0 + block % across * side, y0 + block / across * side, side, own);
    });
    return moved;
  }

 private:
  int rows() const { return static_cast<int>((grid_.count + grid_.width - 1) / grid_.width); }
  int columns(int y) const {
    return static_cast<int>(std::min<std::int64_t>(grid_.width, grid_.count - std::int64_t{y} * grid_.width));
  }

  int arrange(int left, int top, int side, Random& random) const {
    std::vector<std::int32_t> places;
    for (int y = std::max(top, 0); y < std::min(top + side, rows()); ++y)
      for (int x = std::max(left, 0); x < std::min(left + side, columns(y)); ++x) places.push_back(y * grid_.width + x);
    for (std::size_t i = places.size(); i > 1; --i)
      std::swap(places[i - 1], places[random.below(static_cast<std::uint32_t>(i))]);
    int moved = 0;
    for (std::size_t i = 0; i + 4 <= places.size(); i += 4) moved += arrange_four(places.data() + i);
    return moved;
  }

  // |x - t|^2 summed over an arrangement differs between arrangements only by its sum of x . t, which is made largest.
  int arrange_four(const std::int32_t* places) const {
    std::int32_t vectors[4];
    const float *x[4], *t[4];
    for (int i = 0; i < 4; ++i) {
      vectors[i] = cells_[places[i]];
      x[i] = grid_.features + static_cast<std::ptrdiff_t>(vectors[i]) * kGridStride;
      t[i] = target_ + static_cast<std::ptrdiff_t>(places[i]) * kGridStride;
    }
    float gain[4][4];  // [place][vector]
    for (int i = 0; i < 4; ++i) {
      Lane products[4];
      for (int j = 0; j < 4; ++j) {
        products[j] = Lane(0.0f);
        for (int c = 0; c < kGridStride; c += kLanes) products[j] += Lane::load(t[i] + c) * Lane::load(x[j] + c);
      }
      sum_lanes_of_4(products, gain[i]);
    }
    // Two vectors for the first two places, the better order of each; the other two likewise.
    static constexpr int kPairs[6][4] = {{0, 1, 2, 3}, {0, 2, 1, 3}, {0, 3, 1, 2},
                                         {1, 2, 0, 3}, {1, 3, 0, 2}, {2, 3, 0, 1}};
    float best = gain[0][0] + gain[1][1] + (gain[2][2] + gain[3][3]);
    // An arrangement must be better than the present one by more than rounding.
    best += 1e-6f * std::abs(best);
    int chosen[4] = {0, 1, 2, 3};
    bool changed = false;
    for (const auto& p : kPairs) {
      const float a = gain[0][p[0]] + gain[1][p[1]], b = gain[0][p[1]] + gain[1][p[0]];
      const float c = gain[2][p[2]] + gain[3][p[3]], d = gain[2][p[3]] + gain[3][p[2]];
      const float total = std::max(a, b) + std::max(c, d);
      if (!(total > best)) continue;
      best = total;
      changed = true;
      chosen[0] = a >= b ? p[0] : p[1];
      chosen[1] = a >= b ? p[1] : p[0];
      chosen[2] = c >= d ? p[2] : p[3];
      chosen[3] = c >= d ? p[3] : p[2];
    }
    if (!changed) return 0;
    int moved = 0;
    for (int i = 0; i < 4; ++i) {
      cells_[places[i]] = vectors[chosen[i]];
      moved += chosen[i] != i ? 1 : 0;
    }
    return moved;
  }

  const Grid& grid_;
  const int radius_;
  std::int32_t* cells_;
  float *target_, *other_;
};

}  // namespace

std::int64_t grid_order_round(const Grid& grid, int radius, int sweeps, std::uint32_t seed, std::int32_t* cells,
                              float* scratch) {
  if (grid.count == 0) return 0;
  Round round(grid, radius, cells, scratch);
  round.filter();
  std::int64_t moved = 0;
  for (int i = 0; i < sweeps; ++i) moved += round.sweep((std::uint64_t{seed} << 20) + static_cast<std::uint64_t>(i));
  return moved;
}

}  // namespace s3d
