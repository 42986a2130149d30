// SPDX-License-Identifier: Apache-2.0
// PatchMatch over slanted planes (Bleyer et al. 2011) on a checkerboard with far propagation (ACMH, Xu and Tao 2019).
#include "cpu/base/pool.h"
#include "cpu/mvs/mvs.h"
#include "cpu/mvs/mvs_patch.h"

namespace s3d {
namespace {

// Steepest plane: tangent of the angle between its normal and the pixel's ray.
constexpr float kSlopeMax = 4.0f;
constexpr int kFarMax = 11;
// Rows a block of the pool.
constexpr int kRows = 4;

std::uint32_t hash(std::uint32_t x) {
  x ^= x >> 16;
  x *= 0x7feb352du;
  x ^= x >> 15;
  x *= 0x846ca68bu;
  return x ^ (x >> 16);
}

// Uniform in -1 .. 1.
struct Random {
  std::uint32_t state;
  float next() {
    state = hash(state + 0x9e3779b9u);
    return static_cast<float>(state >> 8) * (2.0f / 16777216.0f) - 1.0f;
  }
};

// A neighbour's plane that moves no pixel of the patch farther than about this in any source is not tried: it is the
// pixel's own.
constexpr float kSamePx = 0.05f;
// A plane is first looked at in this many sources more than count.
constexpr int kLikelyMore = 1;

struct Search {
  const MvsReference& r;
  const MvsSource* sources;
  int num_sources;
  const MvsCosts& costs;
  float w_far, w_near;
  float* planes;
  std::uint16_t* likely;

  std::size_t index(int x, int y) const { return static_cast<std::size_t>(y) * r.width + x; }
  float* at(int x, int y) const { return planes + kPlaneFloats * index(x, y); }
  bool possible(const InversePlane<float>& p) const {
    const float limit = kSlopeMax * p.w;
    return p.w >= w_far && p.w <= w_near && std::abs(p.gx * r.fx) <= limit && std::abs(p.gy * r.fy) <= limit;
  }
};

// The best plane of a pixel so far, and the sources (bits) in which it matches best.
struct Best {
  InversePlane<float> plane;
  float cost;
  std::uint32_t likely;
};

struct Pixel {
  const Search& s;
  const Patch& patch;
  int x, y;

  float u() const { return static_cast<float>(x) + 0.5f; }
  float v() const { return static_cast<float>(y) + 0.5f; }

  // A plane is first looked at in the sources `likely`, where the plane that it comes from matches best (none: in all).
  // Only one that is better there than the best so far is judged by all sources.
  void try_plane(const InversePlane<float>& plane, std::uint32_t likely, Best& best) const {
    if (!s.possible(plane)) return;
    float cost[kMvsSourcesMax];
    if (likely != 0u) {
      std::fill_n(cost, s.num_sources, kMvsUnseen);
      cost_in(patch, s.sources, s.num_sources, likely, s.costs, u(), v(), plane, cost);
      int seen = 0;
      for (int k = 0; k < s.num_sources; ++k) seen += cost[k] < kMvsUnseen;
      if (seen >= s.costs.best_views && lowest_mean(cost, s.num_sources, s.costs.best_views) >= best.cost) return;
    }
    cost_in(patch, s.sources, s.num_sources, ~likely, s.costs, u(), v(), plane, cost);
    const float mean = lowest_mean(cost, s.num_sources, s.costs.best_views);
    if (mean < best.cost) best = {plane, mean, lowest(cost)};
  }

  // The sources of the lowest costs, one more than count; none if that is all of them.
  std::uint32_t lowest(const float* cost) const {
    const int wanted = s.costs.best_views + kLikelyMore;
    if (wanted >= s.num_sources) return 0u;
    std::uint32_t chosen = 0u;
    for (int n = 0; n < wanted; ++n) {
      int next = -1;
      for (int k = 0; k < s.num_sources; ++k)
        if (!(chosen >> k & 1u) && cost[k] < kMvsUnseen && (next < 0 || cost[k] < cost[next])) next = k;
      if (next < 0) break;
      chosen |= 1u << next;
    }
    return chosen;
  }

  // The longest way in pixels that the point moves in any source when its inverse depth changes by 1.
  float pixels_per_w(float w) const {
    float longest = 0.0f;
    for (int k = 0; k < s.num_sources; ++k) {
      const Warp<float>& m = s.sources[k].to_source;
      const Homogeneous<float> q = warp(m, u(), v(), w);
      if (q.z > 1e-6f)
        longest = std::max(longest, std::hypot(m.b[0] - q.x / q.z * m.b[2], m.b[1] - q.y / q.z * m.b[2]) / q.z);
    }
    return longest;
  }
};

void propagate(const Pixel& p, Best& best) {
  static constexpr int kDirections[4][2] = {{1, 0}, {-1, 0}, {0, 1}, {0, -1}};
  const Search& s = p.s;
  const float same = kSamePx / std::max(p.pixels_per_w(best.plane.w), 1e-12f);
  const float rim = 2.0f * static_cast<float>(s.costs.spacing);
  for (const auto& d : kDirections) {
    const auto take = [&](int distance) {
      const int px = p.x + d[0] * distance, py = p.y + d[1] * distance;
      const float* row = s.at(px, py);
      if (!(row[0] > 0.0f)) return;
      const InversePlane<float> other = {row[0], row[1], row[2]};
      const float w = inverse_depth(other, static_cast<float>(-d[0] * distance), static_cast<float>(-d[1] * distance));
      const float apart = std::abs(w - best.plane.w) +
                          rim * std::max(std::abs(other.gx - best.plane.gx), std::abs(other.gy - best.plane.gy));
      if (apart >= same) p.try_plane({w, other.gx, other.gy}, s.likely[s.index(px, py)], best);
    };
    const auto inside = [&](int distance) {
      const int px = p.x + d[0] * distance, py = p.y + d[1] * distance;
      return px >= 0 && py >= 0 && px < s.r.width && py < s.r.height;
    };
    if (!inside(1)) continue;
    take(1);
    // Of the far ones, only the surest: odd distances are the other colour of the board.
    int chosen = 0;
    float lowest = 1e30f;
    for (int distance = 3; distance <= kFarMax && inside(distance); distance += 2) {
      const float cost = s.at(p.x + d[0] * distance, p.y + d[1] * distance)[3];
      if (cost < lowest) {
        lowest = cost;
        chosen = distance;
      }
    }
    if (chosen != 0) take(chosen);
  }
}

// Perturbations that halve with every round of the iteration; slopes are tangents.
void refine(const Pixel& p, float shrink, Random& random, Best& best) {
  const Search& s = p.s;
  const auto slanted = [&](const InversePlane<float>& q, float w, float size) {
    return InversePlane<float>{w, w * (q.gx / q.w + size * random.next() / s.r.fx),
                               w * (q.gy / q.w + size * random.next() / s.r.fy)};
  };
  const float range = s.w_near - s.w_far;
  for (const float size : {0.1f * shrink, 0.01f * shrink}) {
    const InversePlane<float> now = best.plane;
    const float w = now.w + size * range * random.next();
    p.try_plane({w, now.gx * w / now.w, now.gy * w / now.w}, best.likely, best);
    p.try_plane(slanted(best.plane, best.plane.w, 8.0f * size), best.likely, best);
    const float both = best.plane.w + 0.5f * size * range * random.next();
    p.try_plane(slanted(best.plane, both, 8.0f * size), best.likely, best);
  }
}

void store(const Search& s, int x, int y, const Best& best) {
  const float out[kPlaneFloats] = {best.plane.w, best.plane.gx, best.plane.gy, best.cost};
  std::memcpy(s.at(x, y), out, sizeof out);
  s.likely[s.index(x, y)] = static_cast<std::uint16_t>(best.likely);
}

}  // namespace

void patch_match(const MvsReference& r, const MvsSource* sources, int num_sources, const MvsCosts& costs, float w_far,
                 float w_near, const MvsRounds& rounds, float* planes) {
  const Search s = {r, sources, num_sources, costs, w_far, w_near, planes, rounds.likely};
  const int blocks = (r.height + kRows - 1) / kRows;
  const auto sweep = [&](auto&& pixel) {
    for_blocks(blocks, [&](int block) {
      Patch patch;
      for (int y = block * kRows; y < std::min(r.height, (block + 1) * kRows); ++y)
        for (int x = 0; x < r.width; ++x) pixel(patch, x, y);
    });
  };
  sweep([&](Patch& patch, int x, int y) {
    make_patch(r, x, y, costs.spacing, patch);
    const Pixel pixel = {s, patch, x, y};
    const float* p = s.at(x, y);
    const InversePlane<float> plane = {p[0], p[1], p[2]};
    Best best = {{0.5f * (w_far + w_near), 0.0f, 0.0f}, 2.0f * kMvsCostMax, 0u};
    if (p[0] > 0.0f) best.plane = {std::clamp(p[0], w_far, w_near), 0.0f, 0.0f};
    pixel.try_plane(plane, 0u, best);
    if (best.cost > kMvsCostMax) pixel.try_plane(best.plane, 0u, best);
    store(s, x, y, best);
  });
  float shrink = 1.0f;
  for (int round = 0; round < rounds.count; ++round, shrink *= 0.5f)
    for (int colour = 0; colour < 2; ++colour)
      sweep([&](Patch& patch, int x, int y) {
        if (((x + y) & 1) != colour) return;
        if (rounds.last != nullptr && round < rounds.count - rounds.last[s.index(x, y)]) return;
        make_patch(r, x, y, costs.spacing, patch);
        const Pixel pixel = {s, patch, x, y};
        const float* p = s.at(x, y);
        Best best = {{p[0], p[1], p[2]}, p[3], s.likely[s.index(x, y)]};
        propagate(pixel, best);
        Random random = {hash(static_cast<std::uint32_t>(y * r.width + x)) ^ hash(rounds.seed + 2u * round + colour)};
        refine(pixel, shrink, random, best);
        store(s, x, y, best);
      });
}

void check_depth(const MvsReference& r, const MvsSource* sources, int num_sources, const float* planes, float max_px,
                 float max_relative, std::uint8_t* agreeing, std::uint8_t* hidden, std::uint8_t* passed) {
  for_blocks(r.height, [&](int y) {
    for (int x = 0; x < r.width; ++x) {
      const std::size_t pixel = static_cast<std::size_t>(y) * r.width + x;
      const float* p = planes + kPlaneFloats * pixel;
      int counts[3] = {0, 0, 0};
      const float u = static_cast<float>(x) + 0.5f, v = static_cast<float>(y) + 0.5f;
      for (int k = 0; k < num_sources && p[0] > 0.0f; ++k) {
        const MvsSource& s = sources[k];
        const Homogeneous<float> q = warp(s.to_source, u, v, p[0]);
        if (!(q.z > 1e-6f)) continue;
        const float sx = q.x / q.z, sy = q.y / q.z;
        if (!(sx >= 0.0f && sy >= 0.0f && sx < static_cast<float>(s.width) && sy < static_cast<float>(s.height)))
          continue;
        const int ix = static_cast<int>(sx), iy = static_cast<int>(sy);
        const float* other = s.planes + kPlaneFloats * (static_cast<std::size_t>(iy) * s.width + ix);
        if (!(other[0] > 0.0f)) continue;
        const float ws = inverse_depth<float>({other[0], other[1], other[2]}, sx - (ix + 0.5f), sy - (iy + 0.5f));
        if (!(ws > 0.0f)) continue;
        // Depth of this point in the source, against the depth that the source sees there.
        const float relative = (q.z / p[0]) * ws - 1.0f;
        const Homogeneous<float> back = warp(s.from_source, sx, sy, ws);
        const bool near = back.z > 1e-6f && std::hypot(back.x / back.z - u, back.y / back.z - v) <= max_px;
        if (near && std::abs(relative) <= max_relative)
          ++counts[0];
        else if (relative > 2.0f * max_relative)
          ++counts[1];
        else if (relative < -2.0f * max_relative)
          ++counts[2];
      }
      agreeing[pixel] = static_cast<std::uint8_t>(counts[0]);
      hidden[pixel] = static_cast<std::uint8_t>(counts[1]);
      passed[pixel] = static_cast<std::uint8_t>(counts[2]);
    }
  });
}

}  // namespace s3d
