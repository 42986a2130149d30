// SPDX-License-Identifier: Apache-2.0
// Front-to-back blending of one splat into one pixel (or a row of them), and its vjp, also front to back.
//
// alpha = opacity * exp(-0.5 d^T conic d) is computed as 2^p with p = a2 dx^2 + b2 dx dy + c2 dy^2 + log2(opacity),
// where a2, b2, c2 hold -log2(e) times (A/2, B, C/2): opacity and the change of base cost nothing a pixel.
#pragma once

#include "math/scalar.h"
#include "math/thresholds.h"

namespace s3d {

// Opacity that a splat shows to a pixel: 0 where it is too faint to be blended, kAlphaMax at most. raw = 2^p.
template <class T>
S3D_HD T splat_alpha(T raw) {
  return select(raw >= T(kAlphaMin), min(raw, T(kAlphaMax)), T(0.0));
}

// Along a line of pixels p is quadratic, so 2^p follows from the pixel before by two products (forward differencing of
// a Gaussian): the ratio of neighbours shrinks by a constant factor a step.
template <class T>
struct GaussianRun {
  T value, ratio, curvature;
};

// p at an offset (dx, dy) from the mean.
template <class T>
S3D_HD T log2_alpha(T a2, T b2, T c2, T log2_o, T dx, T dy) {
  return (a2 * dx + b2 * dy) * dx + (c2 * dy * dy + log2_o);
}

// The factor by which the ratio of neighbours `step` pixels apart in y shrinks: the same for the whole splat.
template <class T>
S3D_HD T run_curvature(T c2, T step) {
  return exp2(T(2.0) * c2 * step * step);
}

// A run that starts at the offset (dx, dy), where p is given, and goes on `step` pixels in y at a time.
template <class T>
S3D_HD GaussianRun<T> gaussian_run(T p, T b2, T c2, T dx, T dy, T step, T curvature) {
  return {exp2(p), exp2(step * (c2 * (T(2.0) * dy + step) + b2 * dx)), curvature};
}

template <class T>
S3D_HD void advance(GaussianRun<T>& g) {
  g.value = g.value * g.ratio;
  g.ratio = g.ratio * g.curvature;
}

// One pixel's transmittance t in front of the splat. A pixel that is finished holds -t.
template <class T>
struct Composited {
  T weight;  // alpha * t, or 0 where the splat would end the pixel or the pixel is finished.
  T next_t;
};

template <class T>
S3D_HD Composited<T> composite(T alpha, T t) {
  const T weight = alpha * t;
  const T next = t - weight;
  // A finished pixel's t is negative, so it stays finished.
  const auto stop = next < T(kTransmittanceStop);
  return {select(stop, T(0.0), weight), select(stop, negative(t), next)};
}

// alpha / (1 - alpha): how strongly a change of ln(alpha) dims what lies behind.
template <class T>
S3D_HD T splat_odds(T alpha) {
  return alpha / (T(1.0) - alpha);
}

// d loss / d ln(alpha). shade: the pixel's gradient dotted with what the splat adds per unit weight (colour, depth).
// behind: the same dot product summed over everything behind the splat, weights included, background too.
// Zero where the splat is not blended, and where alpha was clamped: the clamp is flat.
template <class T>
S3D_HD T composite_vjp(const Composited<T>& c, T alpha, T odds, T shade, T behind) {
  const auto lively = (c.weight > T(0.0)) & (alpha < T(kAlphaMax));
  return select(lively, c.weight * shade - behind * odds, T(0.0));
}

}  // namespace s3d
