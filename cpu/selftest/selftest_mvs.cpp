// SPDX-License-Identifier: Apache-2.0
// Dense depth: the warp of a plane against projected points, and what true and wrong planes cost.
#include <vector>

#include "cpu/mvs/mvs.h"
#include "cpu/selftest/selftest.h"

namespace s3d::selftest {
namespace {

constexpr int kWidth = 48, kHeight = 40;
constexpr double kFocal = 50.0, kCx = 24.0, kCy = 20.0;
// The source stands 0.4 to the right and is turned by 0.1 about its y axis.
constexpr double kShift = 0.4, kTurn = 0.1;

// A point in the reference's frame, as a pixel of the source.
void project(const double p[3], double& u, double& v) {
  const double c = std::cos(kTurn), s = std::sin(kTurn), x = p[0] - kShift;
  const double turned = c * x + s * p[2], depth = -s * x + c * p[2];
  u = kFocal * turned / depth + kCx;
  v = kFocal * p[1] / depth + kCy;
}

// A = K R K^-1, b = K t of the same.
Warp<double> make_warp() {
  const double c = std::cos(kTurn), s = std::sin(kTurn);
  const double rotation[3][3] = {{c, 0.0, s}, {0.0, 1.0, 0.0}, {-s, 0.0, c}};
  const double k[3][3] = {{kFocal, 0.0, kCx}, {0.0, kFocal, kCy}, {0.0, 0.0, 1.0}};
  const double inverse[3][3] = {
      {1.0 / kFocal, 0.0, -kCx / kFocal}, {0.0, 1.0 / kFocal, -kCy / kFocal}, {0.0, 0.0, 1.0}};
  const double t[3] = {-c * kShift, 0.0, s * kShift};
  Warp<double> out = {};
  for (int i = 0; i < 3; ++i) {
    for (int j = 0; j < 3; ++j) {
      out.b[i] += k[i][j] * t[j];
      for (int m = 0; m < 3; ++m)
        for (int n = 0; n < 3; ++n) out.a[3 * i + j] += k[i][m] * rotation[m][n] * inverse[n][j];
    }
  }
  return out;
}

// The plane z = 4 + 0.3 x - 0.2 y, as its inverse depth at a pixel: 4 w = 1 - 0.3 x / z + 0.2 y / z.
InversePlane<double> plane_at(double u, double v) {
  return {(1.0 - 0.3 * (u - kCx) / kFocal + 0.2 * (v - kCy) / kFocal) / 4.0, -0.3 / kFocal / 4.0, 0.2 / kFocal / 4.0};
}

void check_warp(Report& report) {
  const Warp<double> to_source = make_warp();
  double place = 0.0, depth = 0.0, slope = 0.0, normal_error = 0.0;
  Random random{11};
  for (int turn = 0; turn < 100; ++turn) {
    const double u = random.uniform(0.0, kWidth), v = random.uniform(0.0, kHeight);
    const InversePlane<double> plane = plane_at(u, v);
    const double du = random.uniform(-3.0, 3.0), dv = random.uniform(-3.0, 3.0);
    const double w = inverse_depth(plane, du, dv), x = (u + du - kCx) / kFocal, y = (v + dv - kCy) / kFocal;
    const double point[3] = {x / w, y / w, 1.0 / w};
    depth = std::max(depth, std::fabs(point[2] - (4.0 + 0.3 * point[0] - 0.2 * point[1])));
    double su, sv;
    project(point, su, sv);
    const Homogeneous<double> q = warp(to_source, u + du, v + dv, w);
    place = std::max({place, std::fabs(q.x / q.z - su), std::fabs(q.y / q.z - sv)});
    const Homogeneous<double> start = warp(to_source, u, v, plane.w), a = warp_du(to_source, plane),
                              b = warp_dv(to_source, plane);
    slope = std::max({slope, std::fabs(start.x + a.x * du + b.x * dv - q.x),
                      std::fabs(start.y + a.y * du + b.y * dv - q.y), std::fabs(start.z + a.z * du + b.z * dv - q.z)});
    double normal[3];
    plane_normal(plane, kFocal, kFocal, (u - kCx) / kFocal, (v - kCy) / kFocal, normal);
    // The plane's normal is (0.3, -0.2, -1) up to its length.
    normal_error =
        std::max({normal_error, std::fabs(normal[0] / normal[2] + 0.3), std::fabs(normal[1] / normal[2] - 0.2)});
  }
  report.below("mvs: a plane's inverse depth is linear in the pixel", depth, 1e-12);
  report.below("mvs: warp against projected points, pixels", place, 1e-10);
  report.below("mvs: derivatives of the warp", slope, 1e-10);
  report.below("mvs: normal of a plane", normal_error, 1e-12);
}

double texture(double x, double y) {
  return 0.5 + 0.2 * std::sin(1.9 * x) * std::cos(2.3 * y) + 0.15 * std::sin(5.1 * x + 3.7 * y) +
         0.1 * std::cos(7.3 * y - 4.1 * x);
}

// Mean cost of a plane whose inverse depth is `factor` times the true one's.
double mean_cost(const MvsReference& reference, const MvsSource& source, float factor) {
  const MvsCosts costs = {1, 0.5f, 0.0f, 1};
  std::vector<float> planes(kPlaneFloats * kWidth * kHeight);
  for (int y = 0; y < kHeight; ++y)
    for (int x = 0; x < kWidth; ++x) {
      const InversePlane<double> p = plane_at(x + 0.5, y + 0.5);
      float* out = planes.data() + kPlaneFloats * (y * kWidth + x);
      out[0] = factor * static_cast<float>(p.w);
      out[1] = factor * static_cast<float>(p.gx);
      out[2] = factor * static_cast<float>(p.gy);
    }
  std::vector<std::uint16_t> likely(kWidth * kHeight);
  patch_match(reference, &source, 1, costs, 0.05f, 1.0f, {0, 0, likely.data(), nullptr}, planes.data());
  double sum = 0.0;
  int count = 0;
  for (int y = 6; y < kHeight - 6; ++y)
    for (int x = 14; x < kWidth - 14; ++x, ++count) sum += planes[kPlaneFloats * (y * kWidth + x) + 3];
  return sum / count;
}

void check_cost(Report& report) {
  std::vector<float> grey(kWidth * kHeight);
  std::vector<std::uint32_t> bytes(grey.size()), quads(grey.size());
  // Both pictures are of the same texture on the plane; the source's pixel finds its point by its own ray.
  const double c = std::cos(kTurn), s = std::sin(kTurn);
  for (int y = 0; y < kHeight; ++y)
    for (int x = 0; x < kWidth; ++x) {
      const double rx = (x + 0.5 - kCx) / kFocal, ry = (y + 0.5 - kCy) / kFocal;
      const double w = plane_at(x + 0.5, y + 0.5).w;
      grey[y * kWidth + x] = static_cast<float>(texture(rx / w, ry / w));
      // Ray of the source in the reference's axes, from (kShift, 0, 0): z = 4 + 0.3 x - 0.2 y.
      const double dx = c * rx - s, dz = s * rx + c;
      const double far = (4.0 + 0.3 * kShift) / (dz - 0.3 * dx + 0.2 * ry);
      bytes[y * kWidth + x] = static_cast<std::uint32_t>(255.0 * texture(kShift + far * dx, far * ry) + 0.5);
    }
  for (int y = 0; y < kHeight; ++y)
    for (int x = 0; x < kWidth; ++x) {
      const int right = std::min(x + 1, kWidth - 1), below = std::min(y + 1, kHeight - 1);
      quads[y * kWidth + x] = bytes[y * kWidth + x] | bytes[y * kWidth + right] << 8 | bytes[below * kWidth + x] << 16 |
                              bytes[below * kWidth + right] << 24;
    }
  const MvsReference reference = {grey.data(), kWidth, kHeight, kFocal, kFocal, kCx, kCy};
  MvsSource source = {quads.data(), kWidth, kHeight, {}, {}, nullptr};
  const Warp<double> exact = make_warp();
  for (int i = 0; i < 9; ++i) source.to_source.a[i] = static_cast<float>(exact.a[i]);
  for (int i = 0; i < 3; ++i) source.to_source.b[i] = static_cast<float>(exact.b[i]);
  const double truth = mean_cost(reference, source, 1.0f);
  report.below("mvs: cost of the true plane", truth, 0.05);
  report.holds("mvs: nearer planes cost more", mean_cost(reference, source, 1.15f) > 4.0 * truth);
  report.holds("mvs: farther planes cost more", mean_cost(reference, source, 0.85f) > 4.0 * truth);
}

}  // namespace

void check_mvs(Report& report) {
  check_warp(report);
  check_cost(report);
}

}  // namespace s3d::selftest
