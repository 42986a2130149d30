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

struct Search {
  const MvsReference& r;
  const MvsSource* sources;
  int num_sources;
  const MvsCosts& costs;
  float w_far, w_near;
  float* planes;

  float* at(int x, int y) const { return planes + kPlaneFloats * (static_cast<std::size_t>(y) * r.width + x); }
  bool possible(const InversePlane<float>& p) const {
    const float limit = kSlopeMax * p.w;
    return p.w >= w_far && p.w <= w_near && std::abs(p.gx * r.fx) <= limit && std::abs(p.gy * r.fy) <= limit;
  }
};

struct Best {
  InversePlane<float> plane;
  float cost;
};

void try_plane(const Search& s, const Patch& patch, int x, int y, const InversePlane<float>& plane, Best& best) {
  if (!s.possible(plane)) return;
  const float cost = pixel_cost(patch, s.sources, s.num_sources, s.costs, static_cast<float>(x) + 0.5f,
                                static_cast<float>(y) + 0.5f, plane);
  if (cost < best.cost) best = {plane, cost};
}

void propagate(const Search& s, const Patch& patch, int x, int y, Best& best) {
  static constexpr int kDirections[4][2] = {{1, 0}, {-1, 0}, {0, 1}, {0, -1}};
  for (const auto& d : kDirections) {
    const auto take = [&](int distance) {
      const float* p = s.at(x + d[0] * distance, y + d[1] * distance);
      const InversePlane<float> other = {p[0], p[1], p[2]};
      const float w = inverse_depth(other, static_cast<float>(-d[0] * distance), static_cast<float>(-d[1] * distance));
      if (p[0] > 0.0f) try_plane(s, patch, x, y, {w, other.gx, other.gy}, best);
    };
    const auto inside = [&](int distance) {
      const int px = x + d[0] * distance, py = y + d[1] * distance;
      return px >= 0 && py >= 0 && px < s.r.width && py < s.r.height;
    };
    if (!inside(1)) continue;
    take(1);
    // Of the far ones, only the surest: odd distances are the other colour of the board.
    int chosen = 0;
    float lowest = 1e30f;
    for (int distance = 3; distance <= kFarMax && inside(distance); distance += 2) {
      const float cost = s.at(x + d[0] * distance, y + d[1] * distance)[3];
      if (cost < lowest) {
        lowest = cost;
        chosen = distance;
      }
    }
    if (chosen != 0) take(chosen);
  }
}

// Perturbations that halve with every round of the iteration; slopes are tangents.
void refine(const Search& s, const Patch& patch, int x, int y, float shrink, Random& random, Best& best) {
  const auto slanted = [&](const InversePlane<float>& p, float w, float size) {
    return InversePlane<float>{w, w * (p.gx / p.w + size * random.next() / s.r.fx),
                               w * (p.gy / p.w + size * random.next() / s.r.fy)};
  };
  const float range = s.w_near - s.w_far;
  for (const float size : {0.1f * shrink, 0.01f * shrink}) {
    const InversePlane<float> now = best.plane;
    const float w = now.w + size * range * random.next();
    try_plane(s, patch, x, y, {w, now.gx * w / now.w, now.gy * w / now.w}, best);
    try_plane(s, patch, x, y, slanted(best.plane, best.plane.w, 8.0f * size), best);
    const float both = best.plane.w + 0.5f * size * range * random.next();
    try_plane(s, patch, x, y, slanted(best.plane, both, 8.0f * size), best);
  }
}

}  // namespace

void patch_match(const MvsReference& r, const MvsSource* sources, int num_sources, const MvsCosts& costs, float w_far,
                 float w_near, int iterations, std::uint32_t seed, float* planes) {
  const Search s = {r, sources, num_sources, costs, w_far, w_near, planes};
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
    float* p = s.at(x, y);
    const InversePlane<float> plane = {p[0], p[1], p[2]};
    Best best = {{0.5f * (w_far + w_near), 0.0f, 0.0f}, 2.0f * kMvsCostMax};
    if (p[0] > 0.0f) best.plane = {std::clamp(p[0], w_far, w_near), 0.0f, 0.0f};
    try_plane(s, patch, x, y, plane, best);
    if (best.cost > kMvsCostMax) try_plane(s, patch, x, y, best.plane, best);
    const float out[kPlaneFloats] = {best.plane.w, best.plane.gx, best.plane.gy, best.cost};
    std::memcpy(p, out, sizeof out);
  });
  float shrink = 1.0f;
  for (int iteration = 0; iteration < iterations; ++iteration, shrink *= 0.5f)
    for (int colour = 0; colour < 2; ++colour)
      sweep([&](Patch& patch, int x, int y) {
        if (((x + y) & 1) != colour) return;
        make_patch(r, x, y, costs.spacing, patch);
        float* p = s.at(x, y);
        Best best = {{p[0], p[1], p[2]}, p[3]};
        propagate(s, patch, x, y, best);
        Random random = {hash(static_cast<std::uint32_t>(y * r.width + x)) ^ hash(seed + 2u * iteration + colour)};
        refine(s, patch, x, y, shrink, random, best);
        const float out[kPlaneFloats] = {best.plane.w, best.plane.gx, best.plane.gy, best.cost};
        std::memcpy(p, out, sizeof out);
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
