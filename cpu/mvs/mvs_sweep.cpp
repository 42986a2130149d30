// SPDX-License-Identifier: Apache-2.0
// Plane sweep (Collins 1996) and semi-global aggregation (Hirschmueller 2008) of its cost volume.
#include <vector>

#include "cpu/base/pool.h"
#include "cpu/mvs/mvs.h"
#include "cpu/mvs/mvs_patch.h"

namespace s3d {
namespace {

constexpr float kBytesPerCost = 127.0f;

float plane_at(float w_far, float w_near, int planes, float index) {
  return w_far + (w_near - w_far) * index / static_cast<float>(planes - 1);
}

// Adds the costs along one direction (dx, dy) to `sum`. `last` and `next` hold a row of paths each.
struct Paths {
  const MvsReference& r;
  const std::uint8_t* volume;
  int planes, p1, p2;
  std::uint16_t* sum;

  // One pixel of a path: `before` is the path's previous pixel, or null at its start. Written to `out`, whose minimum
  // is returned.
  std::uint16_t step(std::size_t pixel, const std::uint16_t* before, std::uint16_t before_min, int jump,
                     std::uint16_t* out) const {
    const std::uint8_t* cost = volume + pixel * planes;
    std::uint16_t* add = sum + pixel * planes;
    std::uint16_t lowest = 0xffff;
    if (before == nullptr) {
      for (int d = 0; d < planes; ++d) {
        out[d] = cost[d];
        lowest = std::min(lowest, out[d]);
        add[d] = static_cast<std::uint16_t>(add[d] + out[d]);
      }
      return lowest;
    }
    const auto far = static_cast<std::uint16_t>(before_min + jump);
    // before[-1] and before[planes] are guards of the highest value.
    for (int d = 0; d < planes; ++d) {
      const auto beside = static_cast<std::uint16_t>(std::min(before[d - 1], before[d + 1]) + p1);
      const std::uint16_t best = std::min(std::min(before[d], beside), far);
      out[d] = static_cast<std::uint16_t>(cost[d] + best - before_min);
      lowest = std::min(lowest, out[d]);
      add[d] = static_cast<std::uint16_t>(add[d] + out[d]);
    }
    return lowest;
  }

  void run(int dx, int dy) const {
    const int w = r.width, h = r.height, stride = planes + 2;
    constexpr std::uint16_t kGuard = 0xf000;
    std::vector<std::uint16_t> rows[2];
    std::vector<std::uint16_t> lowest[2];
    for (int k = 0; k < 2; ++k) {
      rows[k].assign(static_cast<std::size_t>(w) * stride, kGuard);
      lowest[k].assign(w, 0);
    }
    const bool down = dy > 0 || (dy == 0 && dx > 0);
    for (int i = 0; i < h; ++i) {
      const int y = down ? i : h - 1 - i;
      std::vector<std::uint16_t>& now = rows[i & 1];
      std::vector<std::uint16_t>& now_lowest = lowest[i & 1];
      for (int j = 0; j < w; ++j) {
        const int x = dx >= 0 ? j : w - 1 - j;
        const int px = x - dx, py = y - dy;
        const bool starts = px < 0 || px >= w || py < 0 || py >= h;
        const int from = dy == 0 ? i & 1 : (i & 1) ^ 1;
        const std::uint16_t* before = starts ? nullptr : rows[from].data() + static_cast<std::size_t>(px) * stride + 1;
        const std::size_t pixel = static_cast<std::size_t>(y) * w + x;
        int jump = p2;
        if (!starts) {
          // A jump is cheaper where the grey changes.
          const float step_grey = std::abs(r.grey[pixel] - r.grey[static_cast<std::size_t>(py) * w + px]) * 255.0f;
          jump = std::max(p1 + 1, static_cast<int>(static_cast<float>(p2) / (1.0f + 0.1f * step_grey)));
        }
        now_lowest[x] = step(pixel, before, starts ? 0 : lowest[from][px], jump,
                             now.data() + static_cast<std::size_t>(x) * stride + 1);
      }
    }
  }
};

}  // namespace

void sweep_planes(const MvsReference& r, const MvsSource* sources, int num_sources, const MvsCosts& costs, float w_far,
                  float w_near, int planes, std::uint8_t* volume) {
  for_blocks(r.height, [&](int y) {
    Patch patch;
    for (int x = 0; x < r.width; ++x) {
      make_patch(r, x, y, costs.spacing, patch);
      std::uint8_t* out = volume + (static_cast<std::size_t>(y) * r.width + x) * planes;
      for (int d = 0; d < planes; ++d) {
        const InversePlane<float> plane = {plane_at(w_far, w_near, planes, static_cast<float>(d)), 0.0f, 0.0f};
        const float cost = pixel_cost(patch, sources, num_sources, costs, static_cast<float>(x) + 0.5f,
                                      static_cast<float>(y) + 0.5f, plane);
        out[d] = static_cast<std::uint8_t>(std::min(cost, kMvsCostMax) * kBytesPerCost + 0.5f);
      }
    }
  });
}

void aggregate_sgm(const MvsReference& r, const std::uint8_t* volume, float w_far, float w_near, int num_planes, int p1,
                   int p2, std::uint16_t* scratch, float* planes, float* clarity) {
  static constexpr int kDirections[8][2] = {{1, 0}, {-1, 0}, {0, 1}, {0, -1}, {1, 1}, {-1, -1}, {1, -1}, {-1, 1}};
  const std::size_t size = static_cast<std::size_t>(r.width) * r.height * num_planes;
  // Two halves of the directions side by side, each with a sum of its own: whole numbers add up the same in any order.
  std::memset(scratch, 0, 2 * size * sizeof(std::uint16_t));
  for_blocks(2, [&](int half) {
    const Paths paths = {r, volume, num_planes, p1, p2, scratch + half * size};
    for (int k = half; k < 8; k += 2) paths.run(kDirections[k][0], kDirections[k][1]);
  });
  for_blocks(r.height, [&](int y) {
    std::vector<float> total(num_planes);
    for (int x = 0; x < r.width; ++x) {
      const std::size_t pixel = static_cast<std::size_t>(y) * r.width + x;
      int best = 0;
      for (int d = 0; d < num_planes; ++d) {
        total[d] = static_cast<float>(scratch[pixel * num_planes + d]) + scratch[size + pixel * num_planes + d];
        if (total[d] < total[best]) best = d;
      }
      // The second best minimum lies more than two planes away.
      float second = 1e30f;
      for (int d = 0; d < num_planes; ++d)
        if (std::abs(d - best) > 2) second = std::min(second, total[d]);
      float offset = 0.0f;
      if (best > 0 && best + 1 < num_planes) {
        const float before = total[best - 1] - total[best], after = total[best + 1] - total[best];
        if (before + after > 0.0f) offset = 0.5f * (before - after) / (before + after);
      }
      float* p = planes + kPlaneFloats * pixel;
      p[0] = plane_at(w_far, w_near, num_planes, static_cast<float>(best) + offset);
      p[1] = p[2] = 0.0f;
      p[3] = total[best] / (8.0f * kBytesPerCost);
      clarity[pixel] = std::clamp((second - total[best]) / (second + 1.0f), 0.0f, 1.0f);
    }
  });
}

}  // namespace s3d
