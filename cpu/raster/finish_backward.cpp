// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "cpu/base/pool.h"
#include "cpu/raster/splat_lanes.h"

namespace s3d {
namespace {

constexpr int kMaxCoefficients = (kMaxShDegree + 1) * (kMaxShDegree + 1);

// Gradients of one splat's raw parameters, in the order of AdamBuffers.
struct SplatGradient {
  float mean[3], quat[4], log_scale[3], logit_opacity, sh[3 * kMaxCoefficients];
};

// A splat's slots added in tile order, then scaled to gradients of mean, conic, log2 opacity and colour.
struct LaneSums {
  Lane s, px, py, conic_a, conic_b, conic_c, rgb[3], z;
};

// slots: the block's first.
PairGradient sum_slots(const SplatRecord& record, const PairGradient* slots) {
  PairGradient total = {};
  float* sum = &total.s;
  for (std::uint32_t k = 0; k < record.num_pairs; ++k) {
    const float* slot = &slots[record.first_slot + k].s;
    for (int j = 0; j < 12; ++j) sum[j] += slot[j];
  }
  return total;
}

LaneSums load_sums(const SplatRecord* records, const PairGradient* totals, int count) {
  const auto lanes = [&](auto&& pick) {
    Lane out;
    for (int i = 0; i < kLanes; ++i) out.v[i] = pick(std::min(i, count - 1));
    return out;
  };
  const auto sum = [&](float PairGradient::* member) { return lanes([&](int i) { return totals[i].*member; }); };
  const Lane minus_2ln2(static_cast<float>(-2.0 * kLn2)), minus_ln2(static_cast<float>(-kLn2));
  const Lane a = minus_2ln2 * lanes([&](int i) { return records[i].a2; });
  const Lane b = minus_ln2 * lanes([&](int i) { return records[i].b2; });
  const Lane c = minus_2ln2 * lanes([&](int i) { return records[i].c2; });
  LaneSums out;
  out.s = sum(&PairGradient::s);
  const Lane sx = sum(&PairGradient::sx), sy = sum(&PairGradient::sy);
  out.px = a * sx + b * sy;
  out.py = b * sx + c * sy;
  out.conic_a = Lane(-0.5f) * sum(&PairGradient::sxx);
  out.conic_b = -sum(&PairGradient::sxy);
  out.conic_c = Lane(-0.5f) * sum(&PairGradient::syy);
  // A colour that was clamped at 0 has no gradient.
  const auto lively = [&](float SplatRecord::* colour, float PairGradient::* gradient) {
    return lanes([&](int i) { return records[i].*colour > 0.0f ? totals[i].*gradient : 0.0f; });
  };
  out.rgb[0] = lively(&SplatRecord::red, &PairGradient::red);
  out.rgb[1] = lively(&SplatRecord::green, &PairGradient::green);
  out.rgb[2] = lively(&SplatRecord::blue, &PairGradient::blue);
  out.z = sum(&PairGradient::z);
  return out;
}

// One group of visible splats: all vjps below the blending. v_camera: 12 lanes of sums, or null.
void splat_vjp(const SplatParameters& p, const View& view, const Pinhole<Lane>& camera, const LaneRows& rows,
               const LaneSums& g, SplatGradient* out, Lane* v_camera) {
  SplatShape<Lane> s;
  load_shape(p, rows, s);
  const Lane opacity = load_opacity(p, rows);
  Footprint<Lane> f;
  project_splat(s, camera, f);

  Lane basis[kMaxCoefficients], v_basis[kMaxCoefficients], dir[3], length;
  const Lane* v_rgb = g.rgb;
  view_direction(s, camera, dir, length);
  sh_basis(view.sh_degree, dir[0], dir[1], dir[2], basis);
  const int coefficients = (view.sh_degree + 1) * (view.sh_degree + 1);
  v_basis[0] = Lane(0.0f);
  for (int k = 1; k < coefficients; ++k) {
    Lane sh[3];
    load_rows<3>(p.shN + 3 * (k - 1), 3 * p.sh_rest, rows, sh);
    v_basis[k] = sh[0] * v_rgb[0] + sh[1] * v_rgb[1] + sh[2] * v_rgb[2];
  }
  Lane v_dir[3];
  sh_basis_vjp(view.sh_degree, dir[0], dir[1], dir[2], v_basis, v_dir);
  const Lane radial = dir[0] * v_dir[0] + dir[1] * v_dir[1] + dir[2] * v_dir[2];
  for (int k = 0; k < 3; ++k) v_dir[k] = (v_dir[k] - dir[k] * radial) / length;

  FootprintGradient<Lane> v_footprint = {g.px, g.py, g.z, g.conic_a, g.conic_b, g.conic_c, Lane(0.0f)};
  if (view.antialias) v_footprint.compensation = g.s / f.compensation;
  SplatShape<Lane> v;
  Lane v_cam[3], v_r[9];
  project_splat_vjp(s, camera, f, v_footprint, v, v_cam, v_r);
  if (v_camera != nullptr) {
    // The centre is -R^T t, so its gradient -v_dir reaches R and t as well.
    for (int i = 0; i < 3; ++i) {
      Lane v_t = v_cam[i];
      for (int k = 0; k < 3; ++k) {
        v_camera[4 * i + k] = v_r[3 * i + k] + v_cam[i] * s.mean[k] + camera.t[i] * v_dir[k];
        v_t += camera.r[3 * i + k] * v_dir[k];
      }
      v_camera[4 * i + 3] = v_t;
    }
  }
  const Lane v_logit = g.s * (Lane(1.0f) - opacity);
  for (int i = 0; i < rows.count; ++i) {
    SplatGradient& o = out[i];
    for (int k = 0; k < 3; ++k) {
      o.mean[k] = v.mean[k][i] + v_dir[k][i];
      o.log_scale[k] = v.scale[k][i] * s.scale[k][i];
    }
    for (int k = 0; k < 4; ++k) o.quat[k] = v.quat[k][i];
    o.logit_opacity = v_logit[i];
    for (int k = 0; k < coefficients; ++k)
      for (int c = 0; c < 3; ++c) o.sh[3 * k + c] = basis[k][i] * v_rgb[c][i];
  }
}

void write_gradient(const SplatGradient& g, std::int64_t row, int coefficients, int sh_rest,
                    const SplatGradients& out) {
  std::memcpy(out.means + 3 * row, g.mean, sizeof(g.mean));
  std::memcpy(out.quats + 4 * row, g.quat, sizeof(g.quat));
  std::memcpy(out.log_scales + 3 * row, g.log_scale, sizeof(g.log_scale));
  out.logit_opacities[row] = g.logit_opacity;
  std::memcpy(out.sh0 + 3 * row, g.sh, 3 * sizeof(float));
  std::memcpy(out.shN + 3 * sh_rest * row, g.sh + 3, 3 * sizeof(float) * (coefficients - 1));
}

void zero_block(std::int64_t begin, std::int64_t end, int sh_rest, const SplatGradients& out) {
  const auto zero = [&](float* base, std::int64_t width) {
    std::memset(base + begin * width, 0, static_cast<std::size_t>((end - begin) * width) * sizeof(float));
  };
  zero(out.means, 3);
  zero(out.quats, 4);
  zero(out.log_scales, 3);
  zero(out.logit_opacities, 1);
  zero(out.sh0, 3);
  if (sh_rest > 0) zero(out.shN, 3 * sh_rest);
}

void adam_rows(const AdamBuffers& a, int which, std::int64_t offset, const float* gradient, int count) {
  const AdamCoefficients<float>& c = a.coefficients[which];
  const AdamCoefficients<Lane> wide = {Lane(c.beta1), Lane(c.beta2),     Lane(c.rest1),    Lane(c.rest2),
                                       Lane(c.eps),   Lane(c.step_size), Lane(c.inv_bias2)};
  float* param = a.param[which] + offset;
  float* m = a.m[which] + offset;
  float* v = a.v[which] + offset;
  int k = 0;
  for (; k + kLanes <= count; k += kLanes) {
    Lane lane_p = Lane::load(param + k), lane_m = Lane::load(m + k), lane_v = Lane::load(v + k);
    adam_update(Lane::load(gradient + k), wide, lane_p, lane_m, lane_v);
    lane_p.store(param + k);
    lane_m.store(m + k);
    lane_v.store(v + k);
  }
  for (; k < count; ++k) adam_update(gradient[k], c, param[k], m[k], v[k]);
}

void adam_splat(const AdamBuffers& a, SplatGradient& g, std::int64_t row, int coefficients, int sh_rest) {
  if (a.scale_reg != 0.0f)
    for (int k = 0; k < 3; ++k) g.log_scale[k] += a.scale_reg * std::exp(a.param[2][3 * row + k]);
  if (a.opacity_reg != 0.0f) {
    const float o = sigmoid(a.param[3][row]);
    g.logit_opacity += a.opacity_reg * o * (1.0f - o);
  }
  adam_rows(a, 0, 3 * row, g.mean, 3);
  adam_rows(a, 1, 4 * row, g.quat, 4);
  adam_rows(a, 2, 3 * row, g.log_scale, 3);
  adam_rows(a, 3, row, &g.logit_opacity, 1);
  adam_rows(a, 4, 3 * row, g.sh, 3);
  adam_rows(a, 5, 3 * sh_rest * row, g.sh + 3, 3 * (coefficients - 1));
}

// pair_weights: the block's first, or null.
void add_density(const DensitySums& d, const SplatRecord& r, float radius, const PairGradient& total,
                 const float* pair_weights, float v_px, float v_py, const View& view) {
  // Gradients in normalised image units, as 3DGS's thresholds are: pixels times half the image size.
  const float sx = 0.5f * static_cast<float>(view.width), sy = 0.5f * static_cast<float>(view.height);
  const auto ln2 = static_cast<float>(kLn2);
  const float ax = total.abs_x * ln2 * sx, ay = total.abs_y * ln2 * sy;
  const std::uint32_t n = r.splat;
  d.grad_abs[n] += std::sqrt(ax * ax + ay * ay);
  d.grad[n] += std::sqrt(v_px * v_px * sx * sx + v_py * v_py * sy * sy);
  d.visible[n] += 1.0f;
  d.radius_max[n] = std::max(d.radius_max[n], radius);
  if (pair_weights != nullptr) {
    float sum = 0.0f, highest = d.weight_max[n];
    for (std::uint32_t k = 0; k < r.num_pairs; ++k) {
      const float* pair = pair_weights + 2 * static_cast<std::size_t>(r.first_slot + k);
      sum += pair[0];
      highest = std::max(highest, pair[1]);
    }
    d.weight_sum[n] += sum;
    d.weight_max[n] = highest;
  }
}

}  // namespace

void finish_backward(const SplatParameters& p, const View& view, const FinishBuffers& f) {
  const int coefficients = (view.sh_degree + 1) * (view.sh_degree + 1);
  for_blocks(num_blocks(p.count), [&](int block) {
    const Pinhole<Lane> camera = broadcast(view.camera);
    const std::int64_t begin = static_cast<std::int64_t>(block) * kBlockSplats;
    const std::int64_t end = std::min(p.count, begin + kBlockSplats);
    if (f.gradients != nullptr) zero_block(begin, end, p.sh_rest, *f.gradients);
    float v_camera[12] = {};
    const std::uint32_t first_slot = f.projected.block_slots[block];
    const PairGradient* slots = f.slots + first_slot;
    const float* weights =
        f.pair_weights == nullptr ? nullptr : f.pair_weights + 2 * static_cast<std::size_t>(first_slot);
    for (int first = 0; first < f.projected.block_visible[block]; first += kLanes) {
      const SplatRecord* records = f.projected.records + begin + first;
      LaneRows rows;
      rows.count = std::min(kLanes, f.projected.block_visible[block] - first);
      PairGradient totals[kLanes];
      for (int i = 0; i < kLanes; ++i) rows.row[i] = records[std::min(i, rows.count - 1)].splat;
      for (int i = 0; i < rows.count; ++i) totals[i] = sum_slots(records[i], slots);
      const LaneSums sums = load_sums(records, totals, rows.count);
      SplatGradient gradient[kLanes];
      Lane lane_camera[12];
      splat_vjp(p, view, camera, rows, sums, gradient, f.v_camera != nullptr ? lane_camera : nullptr);
      if (f.v_camera != nullptr)
        for (int k = 0; k < 12; ++k)
          for (int i = 0; i < rows.count; ++i) v_camera[k] += lane_camera[k][i];
      for (int i = 0; i < rows.count; ++i) {
        if (f.density != nullptr)
          add_density(*f.density, records[i], f.projected.tiles[begin + first + i].radius, totals[i], weights,
                      sums.px[i], sums.py[i], view);
        if (f.gradients != nullptr) write_gradient(gradient[i], rows.row[i], coefficients, p.sh_rest, *f.gradients);
        if (f.adam != nullptr) adam_splat(*f.adam, gradient[i], rows.row[i], coefficients, p.sh_rest);
      }
    }
    if (f.v_camera != nullptr) std::memcpy(f.v_camera + 12 * block, v_camera, sizeof(v_camera));
  });
}

}  // namespace s3d
