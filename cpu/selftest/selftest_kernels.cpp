// SPDX-License-Identifier: Apache-2.0
// The rasteriser and the photometric loss against plain loops in double, written without the formulas that they judge.
#include <cstring>
#include <vector>

#include "cpu/base/pool.h"
#include "cpu/raster/photometric.h"
#include "cpu/raster/raster.h"
#include "cpu/selftest/selftest.h"
#include "math/sh.h"

namespace s3d::selftest {
namespace {

constexpr int kWidth = 45, kHeight = 37, kPixels = kWidth * kHeight, kCount = 700, kDegree = 3, kRest = 15;
constexpr int kWidths[6] = {3, 4, 3, 1, 3, 3 * kRest};  // Of means, quats, log_scales, logit_opacities, sh0, shN.
constexpr int kInputs = 3 + 4 + 3 + 1 + 3 + 3 * kRest;
const char* const kNames[6] = {"means", "quaternions", "log scales", "logit opacities", "sh0", "shN"};

struct Cloud {
  std::vector<float> group[6];
  float pose[12], background[3] = {0.2f, 0.5f, 0.7f};

  Cloud() {
    Random random{11};
    for (int g = 0; g < 6; ++g) group[g].resize(static_cast<std::size_t>(kCount) * kWidths[g]);
    const auto fill = [&](int g, double low, double high) {
      for (float& x : group[g]) x = static_cast<float>(random.uniform(low, high));
    };
    fill(0, -2.0, 2.0);
    fill(1, -1.0, 1.0);
    fill(2, -3.5, -1.2);
    fill(3, -2.0, 3.0);
    fill(4, -1.0, 1.5);
    fill(5, -0.2, 0.2);
    const double tilt[4] = {0.97, 0.1, -0.15, 0.07};
    double r[9];
    rotation_from_quat(tilt, r);
    for (int i = 0; i < 3; ++i) {
      for (int k = 0; k < 3; ++k) pose[4 * i + k] = static_cast<float>(r[3 * i + k]);
      pose[4 * i + 3] = i == 2 ? 3.0f : 0.1f;
    }
  }
  SplatParameters parameters() const {
    return {group[0].data(), group[1].data(), group[2].data(), group[3].data(),
            group[4].data(), group[5].data(), kCount,          kRest};
  }
  View view() const {
    View v;
    for (int i = 0; i < 3; ++i) {
      for (int k = 0; k < 3; ++k) v.camera.r[3 * i + k] = pose[4 * i + k];
      v.camera.t[i] = pose[4 * i + 3];
      v.camera.centre[i] = -(pose[i] * pose[3] + pose[4 + i] * pose[7] + pose[8 + i] * pose[11]);
    }
    v.camera.fx = 40.0f;
    v.camera.fy = 42.0f;
    v.camera.cx = 22.0f;
    v.camera.cy = 19.0f;
    set_jacobian_limits<float>(v.camera, kWidth, kHeight);
    v.width = kWidth;
    v.height = kHeight;
    v.sh_degree = kDegree;
    v.antialias = true;
    v.near = static_cast<float>(kNearPlane);
    return v;
  }
};

// What blending needs of one splat; the order of `at`.
enum Term { kX, kY, kA, kB, kC, kOpacity, kRed, kGreen, kBlue, kZ, kTerms };
struct Splat {
  double at[kTerms];
};

// x: one splat's parameters side by side; pose: rows of [R | t]. Sigma = R S S R^T and J W Sigma W^T J^T as matrices.
Splat plain_projection(const double* x, const double* pose, const Pinhole<float>& k) {
  double cam[3], rot[9], half[2][3] = {}, world[3][3], dir[3], length = 0.0, basis[16];
  for (int i = 0; i < 3; ++i)
    cam[i] = pose[4 * i] * x[0] + pose[4 * i + 1] * x[1] + pose[4 * i + 2] * x[2] + pose[4 * i + 3];
  rotation_from_quat(x + 3, rot);
  for (int i = 0; i < 3; ++i)
    for (int j = 0; j < 3; ++j) {
      world[i][j] = 0.0;
      for (int a = 0; a < 3; ++a) world[i][j] += rot[3 * i + a] * std::exp(2.0 * x[7 + a]) * rot[3 * j + a];
    }
  const double u = std::clamp<double>(cam[0] / cam[2], k.u_min, k.u_max);
  const double v = std::clamp<double>(cam[1] / cam[2], k.v_min, k.v_max);
  for (int i = 0; i < 3; ++i) {
    half[0][i] = k.fx / cam[2] * (pose[i] - u * pose[8 + i]);
    half[1][i] = k.fy / cam[2] * (pose[4 + i] - v * pose[8 + i]);
  }
  double cov[3] = {};
  for (int i = 0; i < 3; ++i)
    for (int j = 0; j < 3; ++j) {
      cov[0] += half[0][i] * world[i][j] * half[0][j];
      cov[1] += half[0][i] * world[i][j] * half[1][j];
      cov[2] += half[1][i] * world[i][j] * half[1][j];
    }
  const double sharp = cov[0] * cov[2] - cov[1] * cov[1], a = cov[0] + kLowPassPx2, c = cov[2] + kLowPassPx2;
  const double det = a * c - cov[1] * cov[1];
  for (int i = 0; i < 3; ++i) {
    dir[i] = x[i] + pose[i] * pose[3] + pose[4 + i] * pose[7] + pose[8 + i] * pose[11];
    length += dir[i] * dir[i];
  }
  length = std::sqrt(length);
  sh_basis(kDegree, dir[0] / length, dir[1] / length, dir[2] / length, basis);
  Splat out = {{k.fx * cam[0] / cam[2] + k.cx, k.fy * cam[1] / cam[2] + k.cy, c / det, -cov[1] / det, a / det,
                std::sqrt(sharp / det) / (1.0 + std::exp(-x[10])), 0.5, 0.5, 0.5, cam[2]}};
  for (int j = 0; j < 16; ++j)
    for (int channel = 0; channel < 3; ++channel) out.at[kRed + channel] += basis[j] * x[11 + 3 * j + channel];
  for (int channel = 0; channel < 3; ++channel) out.at[kRed + channel] = std::max(0.0, out.at[kRed + channel]);
  return out;
}

struct Gradients {
  std::vector<float> image, alpha, depth;
  Gradients() : image(3 * kPixels), alpha(kPixels), depth(kPixels) {
    Random random{12};
    for (auto* v : {&image, &alpha, &depth})
      for (float& x : *v) x = static_cast<float>(random.uniform(-1.0, 1.0));
  }
};

struct PlainResult {
  std::vector<double> image, group[6], weight_sum;
  double camera[12] = {};
};

// Every pixel walks through every splat, then back again as in 3DGS (Kerbl et al. 2023, appendix C).
PlainResult plain_render(const Cloud& cloud, const Gradients& v) {
  const View view = cloud.view();
  double pose[12];
  std::copy(cloud.pose, cloud.pose + 12, pose);
  std::vector<double> inputs(static_cast<std::size_t>(kCount) * kInputs);
  std::vector<Splat> splats(kCount), v_splats(kCount, Splat{});
  std::vector<int> order;
  for (int n = 0; n < kCount; ++n) {
    double* x = inputs.data() + static_cast<std::size_t>(n) * kInputs;
    for (int g = 0; g < 6; ++g)
      for (int k = 0; k < kWidths[g]; ++k) *x++ = cloud.group[g][static_cast<std::size_t>(n) * kWidths[g] + k];
    splats[n] = plain_projection(x - kInputs, pose, view.camera);
    if (splats[n].at[kZ] >= kNearPlane) order.push_back(n);
  }
  std::sort(order.begin(), order.end(), [&](int a, int b) { return splats[a].at[kZ] < splats[b].at[kZ]; });
  PlainResult out;
  out.image.resize(5 * kPixels);
  out.weight_sum.resize(kCount);
  struct Step {
    int n;
    double alpha, t, dx, dy;
  };
  std::vector<Step> steps;
  for (int pixel = 0; pixel < kPixels; ++pixel) {
    steps.clear();
    double t = 1.0, sum[4] = {};  // Colour and depth.
    for (const int n : order) {
      const double* s = splats[n].at;
      const double dx = pixel % kWidth + 0.5 - s[kX], dy = pixel / kWidth + 0.5 - s[kY];
      const double power = -0.5 * (s[kA] * dx * dx + s[kC] * dy * dy) - s[kB] * dx * dy;
      const double alpha = std::min(kAlphaMax, s[kOpacity] * std::exp(power));
      if (alpha < kAlphaMin) continue;
      if (t * (1.0 - alpha) < kTransmittanceStop) break;
      for (int c = 0; c < 4; ++c) sum[c] += alpha * t * s[kRed + c];
      out.weight_sum[n] += alpha * t;
      steps.push_back({n, alpha, t, dx, dy});
      t *= 1.0 - alpha;
    }
    double behind = -t * v.alpha[pixel];
    for (int c = 0; c < 3; ++c) {
      out.image[5 * pixel + c] = sum[c] + t * cloud.background[c];
      behind += t * cloud.background[c] * v.image[3 * pixel + c];
    }
    out.image[5 * pixel + 3] = t;
    out.image[5 * pixel + 4] = sum[3];
    for (std::size_t i = steps.size(); i-- > 0;) {
      const Step& step = steps[i];
      const double* s = splats[step.n].at;
      double* v_s = v_splats[step.n].at;
      double shade = s[kZ] * v.depth[pixel];
      for (int c = 0; c < 3; ++c) {
        shade += s[kRed + c] * v.image[3 * pixel + c];
        v_s[kRed + c] += step.alpha * step.t * v.image[3 * pixel + c];
      }
      v_s[kZ] += step.alpha * step.t * v.depth[pixel];
      const double v_alpha = step.t * shade - behind / (1.0 - step.alpha);
      behind += step.alpha * step.t * shade;
      if (step.alpha >= kAlphaMax) continue;
      const double v_power = v_alpha * step.alpha;
      v_s[kOpacity] += v_power / s[kOpacity];
      v_s[kX] += v_power * (s[kA] * step.dx + s[kB] * step.dy);
      v_s[kY] += v_power * (s[kC] * step.dy + s[kB] * step.dx);
      v_s[kA] -= 0.5 * v_power * step.dx * step.dx;
      v_s[kB] -= v_power * step.dx * step.dy;
      v_s[kC] -= 0.5 * v_power * step.dy * step.dy;
    }
  }
  // Through the projection by central differences.
  for (int g = 0; g < 6; ++g) out.group[g].resize(cloud.group[g].size());
  const auto slope = [&](int n, double& x) {
    const double before = x, h = 1e-6;
    double sum = 0.0;
    for (const double sign : {1.0, -1.0}) {
      x = before + sign * h;
      const Splat moved = plain_projection(inputs.data() + static_cast<std::size_t>(n) * kInputs, pose, view.camera);
      for (int k = 0; k < kTerms; ++k) sum += sign * moved.at[k] * v_splats[n].at[k];
    }
    x = before;
    return sum / (2.0 * h);
  };
  for (const int n : order) {
    double* x = inputs.data() + static_cast<std::size_t>(n) * kInputs;
    for (int g = 0; g < 6; ++g)
      for (int k = 0; k < kWidths[g]; ++k) out.group[g][static_cast<std::size_t>(n) * kWidths[g] + k] = slope(n, *x++);
    for (int k = 0; k < 12; ++k) out.camera[k] += slope(n, pose[k]);
  }
  return out;
}

struct KernelResult {
  std::int64_t visible = 0;
  std::vector<float> image, transmittance, depth, median, group[6], camera, density[6];
  std::vector<float> all() const {
    std::vector<float> out;
    for (const auto* v : {&image, &transmittance, &depth, &median, &camera})
      out.insert(out.end(), v->begin(), v->end());
    for (const auto* v : {group, density})
      for (int g = 0; g < 6; ++g) out.insert(out.end(), v[g].begin(), v[g].end());
    return out;
  }
};

KernelResult kernel_render(const Cloud& cloud, const Gradients& v, int threads) {
  set_num_threads(threads);
  const View view = cloud.view();
  const SplatParameters p = cloud.parameters();
  const int blocks = num_blocks(kCount), tiles = view.num_tiles();
  std::vector<SplatRecord> records(static_cast<std::size_t>(blocks) * kBlockSplats);
  std::vector<SplatTiles> record_tiles(records.size());
  std::vector<std::int32_t> block_visible(blocks);
  std::vector<std::uint32_t> block_slots(blocks + 1);
  const ProjectBuffers projected = {records.data(), record_tiles.data(), block_visible.data(), block_slots.data()};
  KernelResult out;
  out.visible = project(p, view, projected);
  std::vector<std::uint32_t> order(out.visible), scratch(3 * out.visible), tile_start(tiles + 1), tile_used(tiles);
  sort_by_depth(projected, kCount, out.visible, order.data(), scratch.data());
  std::vector<std::uint32_t> histogram(static_cast<std::size_t>(num_blocks(out.visible)) * tiles);
  const std::size_t num_pairs = block_slots[blocks];
  std::vector<Pair> pairs(num_pairs);
  bin(projected, order.data(), out.visible, view, histogram.data(), tile_start.data(), pairs.data());
  std::vector<SegmentMask> masks(num_pairs);
  std::vector<float> pair_weights(2 * num_pairs);
  out.image.resize(3 * kPixels);
  for (auto* image : {&out.transmittance, &out.depth, &out.median}) image->resize(kPixels);
  BlendBuffers b = {};
  b.records = records.data();
  b.pairs = pairs.data();
  b.tile_start = tile_start.data();
  b.masks = masks.data();
  b.tile_used = tile_used.data();
  b.image = out.image.data();
  b.transmittance = out.transmittance.data();
  b.depth = out.depth.data();
  b.median_depth = out.median.data();
  b.pair_weights = pair_weights.data();
  b.background = cloud.background;
  blend_forward(view, b);
  std::vector<PairGradient> slots(num_pairs);
  blend_backward(view, b, {v.image.data(), v.alpha.data(), v.depth.data(), slots.data(), nullptr, true});
  for (int g = 0; g < 6; ++g) {
    out.group[g].resize(cloud.group[g].size());
    out.density[g].resize(kCount);
  }
  SplatGradients gradients = {out.group[0].data(), out.group[1].data(), out.group[2].data(),
                              out.group[3].data(), out.group[4].data(), out.group[5].data()};
  const DensitySums density = {out.density[0].data(), out.density[1].data(), out.density[2].data(),
                               out.density[3].data(), out.density[4].data(), out.density[5].data()};
  std::vector<float> shares(12 * blocks);
  finish_backward(p, view,
                  {projected, slots.data(), pair_weights.data(), &gradients, nullptr, &density, shares.data()});
  out.camera.resize(12);
  for (int i = 0; i < 12 * blocks; ++i) out.camera[i % 12] += shares[i];
  return out;
}

// ||found - wanted|| / ||wanted||.
template <class Found, class Wanted>
double relative(const Found& found, const Wanted& wanted, int count) {
  double off = 0.0, size = 0.0;
  for (int i = 0; i < count; ++i) {
    off += (found[i] - wanted[i]) * (found[i] - wanted[i]);
    size += wanted[i] * wanted[i];
  }
  return size > 0.0 ? std::sqrt(off / size) : INFINITY;
}

}  // namespace

void check_rasterizer(Report& report) {
  const Cloud cloud;
  const Gradients v;
  const PlainResult wanted = plain_render(cloud, v);
  const KernelResult found = kernel_render(cloud, v, 1);
  report.holds("rasteriser: some splats are visible, some are culled", found.visible > 100 && found.visible < kCount);
  const auto range = std::minmax_element(found.transmittance.begin(), found.transmittance.end());
  report.holds("rasteriser: the picture has full and empty places", *range.first < 0.01f && *range.second > 0.5f);
  // A splat may end at 1/255 in one precision and not in the other: 1/255 of its colour and depth at such a pixel.
  double worst = 0.0;
  int off = 0;
  for (int pixel = 0; pixel < kPixels; ++pixel) {
    const float* image = &found.image[3 * pixel];
    const double all[5] = {image[0], image[1], image[2], found.transmittance[pixel], found.depth[pixel]};
    double error = 0.0;
    for (int c = 0; c < 5; ++c) error = std::max(error, std::fabs(all[c] - wanted.image[5 * pixel + c]));
    worst = std::max(worst, error);
    off += !(error < 1e-4);
  }
  report.below("rasteriser: share of pixels off by more than 1e-4", static_cast<double>(off) / kPixels, 0.005);
  report.below("rasteriser: largest difference of colour, transmittance, depth", worst, 0.02);
  report.below("rasteriser: sum of weights, each splat", relative(found.density[3], wanted.weight_sum, kCount), 1e-4);
  for (int g = 0; g < 6; ++g) {
    char name[64];
    std::snprintf(name, sizeof(name), "rasteriser: gradient of %s", kNames[g]);
    report.below(name, relative(found.group[g], wanted.group[g], kCount * kWidths[g]), 1e-4);
  }
  report.below("rasteriser: gradient of the pose", relative(found.camera, wanted.camera, 12), 1e-4);
  const std::vector<float> bits = found.all();
  for (const int threads : {2, 3}) {
    const std::vector<float> again = kernel_render(cloud, v, threads).all();
    report.holds(threads == 2 ? "rasteriser: 2 threads give the same bits" : "rasteriser: 3 threads give the same bits",
                 again.size() == bits.size() && std::memcmp(again.data(), bits.data(), 4 * bits.size()) == 0);
  }
  set_num_threads(1);
}

}  // namespace s3d::selftest
