// SPDX-License-Identifier: Apache-2.0
// The cost of one hypothesis at one pixel: a patch of 45 samples, lanes along the samples.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>

#include "cpu/mvs/mvs.h"
#include "math/lane.h"

namespace s3d {

// Lattice points within sqrt(14) of the centre are 45; the rest of the 48 have no weight. The centre is the first.
inline constexpr int kPatchSamples = 48;
inline constexpr float kMvsCostMax = 2.0f;
// Variance of the noise of an 8-bit photo's grey, (1.5 / 255)^2, in units of bytes.
inline constexpr float kMvsNoise = 2.25f;

struct PatchPattern {
  float dx[kPatchSamples], dy[kPatchSamples], closeness[kPatchSamples];
  PatchPattern() {
    int n = 1;
    dx[0] = dy[0] = 0.0f;
    closeness[0] = 1.0f;
    for (int y = -3; y <= 3; ++y)
      for (int x = -3; x <= 3; ++x)
        if ((x != 0 || y != 0) && x * x + y * y <= 14) {
          dx[n] = static_cast<float>(x);
          dy[n] = static_cast<float>(y);
          closeness[n++] = std::exp(-static_cast<float>(x * x + y * y) / 18.0f);
        }
    for (; n < kPatchSamples; ++n) dx[n] = dy[n] = closeness[n] = 0.0f;
  }
};
inline const PatchPattern kPattern;

// Bytes of a grey photo at fractional positions, by quads of neighbours: one load a sample.
S3D_HD Lane sample_quads(const MvsSource& s, Lane x, Lane y) {
  using I = Mask::V;
  // Half a pixel less: centres are at +0.5. Clamped to where a quad's neighbours exist.
  x = min(max(x - Lane(0.5f), Lane(0.0f)), Lane(static_cast<float>(s.width) - 1.0f));
  y = min(max(y - Lane(0.5f), Lane(0.0f)), Lane(static_cast<float>(s.height) - 1.0f));
  const I ix = __builtin_convertvector(x.v, I), iy = __builtin_convertvector(y.v, I);
  const Lane fx = x - Lane(__builtin_convertvector(ix, Lane::V)), fy = y - Lane(__builtin_convertvector(iy, Lane::V));
  const I at = iy * s.width + ix;
  I quad;
#if defined(__AVX512F__)
  quad = (I)_mm512_i32gather_epi32((__m512i)at, s.quads, 4);
#elif defined(__AVX2__)
  quad = (I)_mm256_i32gather_epi32(reinterpret_cast<const int*>(s.quads), (__m256i)at, 4);
#else
  for (int i = 0; i < kLanes; ++i) quad[i] = static_cast<std::int32_t>(s.quads[at[i]]);
#endif
  const auto byte = [&](int shift) { return Lane(__builtin_convertvector((quad >> shift) & 255, Lane::V)); };
  const Lane a = byte(0), b = byte(8), c = byte(16), d = byte(24);
  const Lane top = a + fx * (b - a), bottom = c + fx * (d - c);
  return top + fy * (bottom - top);
}

// What the reference alone says about a pixel's patch, made once for all hypotheses.
struct Patch {
  alignas(64) float weight[kPatchSamples];    // Bilateral, sum 1.
  alignas(64) float centred[kPatchSamples];   // weight * (grey - mean), bytes.
  alignas(64) float brighter[kPatchSamples];  // Census: +weight where brighter than the centre, -weight where darker.
  float variance, census_sum;
};

inline void make_patch(const MvsReference& r, int x, int y, int spacing, Patch& out) {
  alignas(64) float grey[kPatchSamples];
  const float centre = r.grey[static_cast<std::size_t>(y) * r.width + x];
  for (int k = 0; k < kPatchSamples; ++k) {
    const int px = std::clamp(x + spacing * static_cast<int>(kPattern.dx[k]), 0, r.width - 1);
    const int py = std::clamp(y + spacing * static_cast<int>(kPattern.dy[k]), 0, r.height - 1);
    grey[k] = r.grey[static_cast<std::size_t>(py) * r.width + px];
  }
  // COLMAP's bilateral weight (Schoenberger et al. 2016): colours within 0.2 of the centre's belong to the same
  // surface.
  Lane sum(0.0f), first(0.0f);
  for (int k = 0; k < kPatchSamples; k += kLanes) {
    const Lane d = Lane::load(grey + k) - Lane(centre);
    const Lane w = Lane::load(kPattern.closeness + k) * exp2(max(Lane(-18.0f) * d * d, Lane(-100.0f)));
    w.store(out.weight + k);
    sum += w;
    first += w * Lane::load(grey + k);
  }
  const float scale = 1.0f / horizontal_sum(sum), mean = horizontal_sum(first) * scale;
  Lane variance(0.0f), census(0.0f);
  const Lane margin(1.5f / 255.0f), zero(0.0f);
  for (int k = 0; k < kPatchSamples; k += kLanes) {
    const Lane w = Lane::load(out.weight + k) * Lane(scale), g = Lane::load(grey + k);
    const Lane c = (g - Lane(mean)) * Lane(255.0f);
    w.store(out.weight + k);
    (w * c).store(out.centred + k);
    variance += w * c * c;
    const Lane d = g - Lane(centre);
    const Lane b = select(d > margin, w, select(d < -margin, -w, zero));
    b.store(out.brighter + k);
    census += abs(b);
  }
  out.variance = horizontal_sum(variance);
  out.census_sum = horizontal_sum(census);
}

// Cost of a hypothesis in one source; false where the point is not in its picture.
inline bool source_cost(const Patch& patch, const MvsSource& s, const MvsCosts& costs, float u, float v,
                        const InversePlane<float>& plane, float& cost) {
  const Homogeneous<float> q = warp(s.to_source, u, v, plane.w);
  if (!(q.z > 1e-6f)) return false;
  const float inverse = 1.0f / q.z, x0 = q.x * inverse, y0 = q.y * inverse;
  if (!(x0 >= 0.0f && y0 >= 0.0f && x0 <= static_cast<float>(s.width) && y0 <= static_cast<float>(s.height)))
    return false;
  const auto spacing = static_cast<float>(costs.spacing);
  Homogeneous<float> du = warp_du(s.to_source, plane), dv = warp_dv(s.to_source, plane);
  du = {du.x * spacing, du.y * spacing, du.z * spacing};
  dv = {dv.x * spacing, dv.y * spacing, dv.z * spacing};
  Lane mean(0.0f), square(0.0f), covariance(0.0f), census(0.0f), centre;
  const Lane floor_z(0.1f * q.z);
  for (int k = 0; k < kPatchSamples; k += kLanes) {
    const Lane dx = Lane::load(kPattern.dx + k), dy = Lane::load(kPattern.dy + k);
    const Lane z = max(Lane(q.z) + Lane(du.z) * dx + Lane(dv.z) * dy, floor_z);
    const Lane inv = Lane(1.0f) / z;
    const Lane x = (Lane(q.x) + Lane(du.x) * dx + Lane(dv.x) * dy) * inv;
    const Lane y = (Lane(q.y) + Lane(du.y) * dx + Lane(dv.y) * dy) * inv;
    const Lane grey = sample_quads(s, x, y);
    if (k == 0) centre = Lane(grey[0]);
    const Lane w = Lane::load(patch.weight + k);
    mean += w * grey;
    square += w * grey * grey;
    covariance += Lane::load(patch.centred + k) * grey;
    const Lane b = Lane::load(patch.brighter + k);
    // Disagreeing signs: brighter here and darker there.
    const Lane d = grey - centre;
    census += select(b * d < Lane(0.0f), abs(b), select(d == Lane(0.0f), Lane(0.5f) * abs(b), Lane(0.0f)));
  }
  const float m = horizontal_sum(mean), variance = std::max(horizontal_sum(square) - m * m, 0.0f);
  const float zncc = zncc_cost(horizontal_sum(covariance), patch.variance, variance, kMvsNoise);
  const float signs = patch.census_sum > 0.05f ? 2.0f * horizontal_sum(census) / patch.census_sum : 1.0f;
  cost = std::clamp((1.0f - costs.census_share) * zncc + costs.census_share * signs, 0.0f, kMvsCostMax);
  if (s.planes != nullptr && costs.geometric_weight > 0.0f) {
    const int sx = std::clamp(static_cast<int>(x0), 0, s.width - 1);
    const int sy = std::clamp(static_cast<int>(y0), 0, s.height - 1);
    const float* p = s.planes + kPlaneFloats * (static_cast<std::size_t>(sy) * s.width + sx);
    float error = 3.0f;
    if (p[0] > 0.0f) {
      const float ws = inverse_depth<float>({p[0], p[1], p[2]}, x0 - (sx + 0.5f), y0 - (sy + 0.5f));
      const Homogeneous<float> back = warp(s.from_source, x0, y0, ws);
      if (back.z > 1e-6f) error = std::min(3.0f, std::hypot(back.x / back.z - u, back.y / back.z - v));
    }
    cost += costs.geometric_weight * error;
  }
  return true;
}

// In place of a cost: the point is not in the source's picture.
inline constexpr float kMvsUnseen = 1e30f;

// Mean of the lowest costs. Every source that does not see the point costs a little, so that leaving the pictures is no
// way out.
inline float lowest_mean(const float* cost, int num_sources, int best_views) {
  float found[kMvsSourcesMax];
  int n = 0;
  for (int s = 0; s < num_sources; ++s)
    if (cost[s] < kMvsUnseen) found[n++] = cost[s];
  const int k = std::min(best_views, n);
  if (k == 0) return kMvsCostMax;
  if (k < n) std::nth_element(found, found + k - 1, found + n);
  float sum = 0.0f;
  std::sort(found, found + k);
  for (int i = 0; i < k; ++i) sum += found[i];
  return sum / static_cast<float>(k) + 0.1f * static_cast<float>(best_views - k);
}

// Costs in those sources whose bit is set; the rest of `cost` is left as it is.
inline void cost_in(const Patch& patch, const MvsSource* sources, int num_sources, std::uint32_t which,
                    const MvsCosts& costs, float u, float v, const InversePlane<float>& plane, float* cost) {
  for (int s = 0; s < num_sources; ++s)
    if (which >> s & 1u)
      if (!source_cost(patch, sources[s], costs, u, v, plane, cost[s])) cost[s] = kMvsUnseen;
}

inline float pixel_cost(const Patch& patch, const MvsSource* sources, int num_sources, const MvsCosts& costs, float u,
                        float v, const InversePlane<float>& plane) {
  float cost[kMvsSourcesMax];
  cost_in(patch, sources, num_sources, ~0u, costs, u, v, plane, cost);
  return lowest_mean(cost, num_sources, costs.best_views);
}

}  // namespace s3d
