// SPDX-License-Identifier: Apache-2.0
// The formulas of math/ in double against finite differences, and the lanes against the C library.
#include <numbers>

#include "cpu/raster/lane_sums.h"
#include "cpu/selftest/selftest.h"
#include "math/blend.h"
#include "math/bundle.h"
#include "math/ellipse.h"
#include "math/projection.h"
#include "math/sh.h"
#include "math/ssim.h"

namespace s3d::selftest {
namespace {

constexpr double kGradientLimit = 1e-7;

void check_quaternion(Report& report) {
  double q[4] = {0.9, -0.4, 0.3, 1.1}, weights[9], v_q[4], r[9];
  Random random{1};
  for (double& w : weights) w = random.uniform(-1.0, 1.0);
  rotation_from_quat(q, r);
  double off = 0.0;
  for (int i = 0; i < 3; ++i)
    for (int j = 0; j < 3; ++j) {
      const double dot = r[3 * i] * r[3 * j] + r[3 * i + 1] * r[3 * j + 1] + r[3 * i + 2] * r[3 * j + 2];
      off = std::max(off, std::fabs(dot - (i == j ? 1.0 : 0.0)));
    }
  report.below("quaternion: rows of the rotation are orthonormal", off, 1e-14);
  rotation_from_quat_vjp(q, weights, v_q);
  const auto loss = [&] {
    double sum = 0.0;
    rotation_from_quat(q, r);
    for (int i = 0; i < 9; ++i) sum += weights[i] * r[i];
    return sum;
  };
  report.below("quaternion: vjp", gradient_error(loss, q, v_q, 4), kGradientLimit);
}

// The basis integrates to the identity over the sphere: midpoints in z, equal steps in angle (exact there).
void check_sh(Report& report) {
  constexpr int kCount = 25, kRings = 2000, kAngles = 20;
  double gram[kCount][kCount] = {}, b[kCount];
  for (int ring = 0; ring < kRings; ++ring) {
    const double z = (ring + 0.5) * 2.0 / kRings - 1.0, radius = std::sqrt(1.0 - z * z);
    for (int k = 0; k < kAngles; ++k) {
      const double angle = 2.0 * std::numbers::pi * k / kAngles;
      sh_basis(kMaxShDegree, radius * std::cos(angle), radius * std::sin(angle), z, b);
      for (int i = 0; i < kCount; ++i)
        for (int j = 0; j < kCount; ++j) gram[i][j] += b[i] * b[j] * 4.0 * std::numbers::pi / (kRings * kAngles);
    }
  }
  double off = 0.0;
  for (int i = 0; i < kCount; ++i)
    for (int j = 0; j < kCount; ++j) off = std::max(off, std::fabs(gram[i][j] - (i == j ? 1.0 : 0.0)));
  report.below("spherical harmonics: orthonormal to degree 4", off, 1e-5);

  Random random{2};
  double dir[3] = {0.48, -0.6, 0.64}, weights[kCount], worst = 0.0;
  for (double& w : weights) w = random.uniform(-1.0, 1.0);
  for (int degree = 1; degree <= kMaxShDegree; ++degree) {
    double v_dir[3];
    sh_basis_vjp(degree, dir[0], dir[1], dir[2], weights, v_dir);
    const auto loss = [&] {
      double sum = 0.0;
      sh_basis(degree, dir[0], dir[1], dir[2], b);
      for (int i = 0; i < (degree + 1) * (degree + 1); ++i) sum += weights[i] * b[i];
      return sum;
    };
    worst = std::max(worst, gradient_error(loss, dir, v_dir, 3));
  }
  report.below("spherical harmonics: vjp, degree 1 to 4", worst, kGradientLimit);
}

// x: mean, quaternion, scale, rows of R, t. The clamp of the Jacobian acts on the second mean.
void check_projection(Report& report, const char* name, double mean_x) {
  const FootprintGradient<double> g = {0.7, -0.3, 0.5, 900.0, -700.0, 400.0, 20.0};
  double x[22] = {mean_x, -0.2, 0.4, 0.8, 0.3, -0.5, 0.4, 0.11, 0.04, 0.19};
  const double tilt[4] = {0.95, 0.1, -0.2, 0.05};
  rotation_from_quat(tilt, x + 10);
  x[19] = 0.1;
  x[20] = -0.3;
  x[21] = 3.0;
  SplatShape<double> s;
  Pinhole<double> c;
  Footprint<double> f;
  const auto loss = [&] {
    std::copy(x, x + 3, s.mean);
    std::copy(x + 3, x + 7, s.quat);
    std::copy(x + 7, x + 10, s.scale);
    std::copy(x + 10, x + 19, c.r);
    std::copy(x + 19, x + 22, c.t);
    c.fx = 60.0;
    c.fy = 55.0;
    c.cx = 33.0;
    c.cy = 30.0;
    set_jacobian_limits(c, 64.0, 64.0);
    project_splat(s, c, f);
    return g.px * f.px + g.py * f.py + g.z * f.z + (g.conic_a * f.c - g.conic_b * f.b + g.conic_c * f.a) / f.det +
           g.compensation * f.compensation;
  };
  loss();
  const bool clamped = std::fabs(f.u - f.x / f.z) > 1e-9;
  SplatShape<double> v;
  double v_cam[3], v_r[9], gradient[22];
  project_splat_vjp(s, c, f, g, v, v_cam, v_r);
  std::copy(v.mean, v.mean + 3, gradient);
  std::copy(v.quat, v.quat + 4, gradient + 3);
  std::copy(v.scale, v.scale + 3, gradient + 7);
  for (int i = 0; i < 3; ++i)
    for (int k = 0; k < 3; ++k) gradient[10 + 3 * i + k] = v_r[3 * i + k] + v_cam[i] * s.mean[k];
  std::copy(v_cam, v_cam + 3, gradient + 19);
  const double error = gradient_error(loss, x, gradient, 22);
  report.below(name, clamped == (mean_x > 1.0) ? error : INFINITY, kGradientLimit);
}

// The widest points of a sampled ellipse within bands of rows.
void check_ellipse(Report& report) {
  const double a = 30.0, b = 18.0, c = 14.0, det = a * c - b * b, k = 5.0;
  const Ellipse<double> e = ellipse_of_covariance(3.0, 4.0, a, b, c, det, k);
  const double l11 = std::sqrt(a), l21 = b / l11, l22 = std::sqrt(c - l21 * l21);
  double worst = 0.0;
  for (const double y0 : {-20.0, -4.0, 1.0, 6.0, 11.0}) {
    const double y1 = y0 + (y0 < -10.0 ? 60.0 : 3.0);
    double left = 1e30, right = -1e30, found_left, found_right;
    for (int i = 0; i < 200000; ++i) {
      const double angle = 2.0 * std::numbers::pi * i / 200000, u = std::sqrt(k) * std::cos(angle),
                   v = std::sqrt(k) * std::sin(angle);
      const double x = 3.0 + l11 * u, y = 4.0 + l21 * u + l22 * v;
      if (y < y0 || y > y1) continue;
      left = std::min(left, x);
      right = std::max(right, x);
    }
    ellipse_band(e, y0, y1, found_left, found_right);
    worst = std::max({worst, std::fabs(found_left - left), std::fabs(found_right - right)});
  }
  report.below("ellipse: range of x within bands of rows, pixels", worst, 2e-3);
}

void check_ssim(Report& report) {
  double x[3] = {0.4, 0.21, 0.17}, v[3];
  const auto moments = [&] { return SsimMoments<double>{x[0], 0.35, x[1], 0.15, x[2]}; };
  const double value = ssim_and_vjp(moments(), v[0], v[1], v[2]);
  report.below("ssim: value with its vjp and without", std::fabs(value - ssim(moments())), 1e-15);
  report.below("ssim: vjp", gradient_error([&] { return ssim(moments()); }, x, v, 3), kGradientLimit);
}

// One pixel behind a column of splats; the fourth is clamped at kAlphaMax, the last would end the pixel.
void check_blend(Report& report) {
  constexpr int kCount = 6;
  double log_alpha[kCount] = {std::log(0.3), std::log(0.05), std::log(0.6), std::log(0.99), std::log(0.5), -0.02};
  const double shade[kCount] = {0.4, -0.9, 0.3, 0.8, 0.7, 2.0}, background = -0.6;
  double weights[kCount];
  const auto alpha = [&](int i) { return i == 3 ? kAlphaMax : std::exp(log_alpha[i]); };
  const auto loss = [&] {
    double t = 1.0, sum = 0.0;
    for (int i = 0; i < kCount; ++i) {
      const Composited<double> out = composite(alpha(i), t);
      weights[i] = out.weight;
      sum += out.weight * shade[i];
      t = out.next_t;
    }
    return sum + std::fabs(t) * background;
  };
  double behind = loss(), t = 1.0, v[kCount];
  report.holds("blend: a splat that would end the pixel is left out, the others are not",
               weights[kCount - 1] == 0.0 && *std::min_element(weights, weights + kCount - 1) > 0.0);
  for (int i = 0; i < kCount; ++i) {
    const Composited<double> out = composite(alpha(i), t);
    behind -= out.weight * shade[i];
    v[i] = composite_vjp(out, alpha(i), splat_odds(alpha(i)), shade[i], behind);
    t = out.next_t;
  }
  report.below("blend: vjp", gradient_error(loss, log_alpha, v, kCount), kGradientLimit);
}

}  // namespace

void check_formulas(Report& report) {
  check_quaternion(report);
  check_sh(report);
  check_projection(report, "projection: vjp, all 22 inputs", 0.3);
  check_projection(report, "projection: vjp where the Jacobian is clamped", 8.0);
  check_ellipse(report);
  check_ssim(report);
  check_blend(report);
}

void check_lanes(Report& report) {
  Random random{3};
  double exp2_error = 0.0, log2_error = 0.0, sum_error = 0.0;
  bool sqrt_exact = true, min_max_exact = true, bits_exact = true, bundle_same = true;
  for (int turn = 0; turn < 20000; ++turn) {
    float a[4][kLanes], out[kLanes];
    for (auto& lane : a)
      for (float& x : lane) x = static_cast<float>(random.uniform(-126.0, 126.0));
    const Lane x = Lane::load(a[0]), y = Lane::load(a[1]), power = exp2(x), root = sqrt(abs(x)),
               logarithm = log2(power);
    Bundle<2> pair;
    pair.v[0] = x;
    pair.v[1] = y;
    const Bundle<2> powers = exp2(pair);
    std::uint32_t less = 0;
    for (int i = 0; i < kLanes; ++i) {
      const double exact = std::exp2(static_cast<double>(a[0][i])),
                   log_exact = std::log2(static_cast<double>(power[i]));
      exp2_error = std::max(exp2_error, std::fabs(power[i] / exact - 1.0));
      log2_error = std::max(log2_error, std::fabs(logarithm[i] - log_exact) / (1.0 + std::fabs(log_exact)));
      sqrt_exact &= root[i] == std::sqrt(std::fabs(a[0][i]));
      min_max_exact &= min(x, y)[i] == std::min(a[0][i], a[1][i]) && max(x, y)[i] == std::max(a[0][i], a[1][i]);
      less |= static_cast<std::uint32_t>(a[0][i] < a[1][i]) << i;
      bundle_same &= powers.v[0][i] == power[i];
    }
    bits_exact &= bits(x < y) == less;
    const Lane four[4] = {x, y, Lane::load(a[2]), Lane::load(a[3])};
    sum_lanes_of_4(four, out);
    for (int k = 0; k < 4; ++k) {
      double exact = 0.0, size = 0.0;
      for (int i = 0; i < kLanes; ++i) {
        exact += a[k][i];
        size += std::fabs(a[k][i]);
      }
      sum_error =
          std::max({sum_error, std::fabs(out[k] - exact) / size, std::fabs(horizontal_sum(four[k]) - exact) / size});
    }
  }
  report.below("lanes: exp2 on -126..126, relative", exp2_error, 3e-7);
  report.below("lanes: log2, relative to 1 + |log2|", log2_error, 3e-7);
  report.below("lanes: sums over lanes, relative to the sum of sizes", sum_error, 3e-7);
  report.holds("lanes: sqrt is correctly rounded", sqrt_exact);
  report.holds("lanes: min and max", min_max_exact);
  report.holds("lanes: bits of a comparison", bits_exact);
  report.holds("lanes: exp2 of a bundle has the same bits", bundle_same);
  float special[kLanes] = {};
  special[0] = NAN;
  special[1] = INFINITY;
  special[2] = -INFINITY;
  report.holds("lanes: is_finite", bits(is_finite(Lane::load(special))) == ((1u << kLanes) - 1u - 7u));
}

}  // namespace s3d::selftest
