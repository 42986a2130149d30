// SPDX-License-Identifier: Apache-2.0
// Structural similarity at one pixel from the local moments of two images (Wang et al. 2004, eq. 13), and its vjp with
// respect to the moments of the first image. Windowing (11x11 Gaussian, sigma 1.5, zero padding) is the caller's.
#pragma once

#include "math/scalar.h"

namespace s3d {

inline constexpr double kSsimC1 = 0.0001;  // (0.01 * range)^2 for images in 0..1.
inline constexpr double kSsimC2 = 0.0009;  // (0.03 * range)^2.

// Windowed means of x, y, x^2, y^2, x y.
template <class T>
struct SsimMoments {
  T x, y, xx, yy, xy;
};

template <class T>
S3D_HD T ssim(const SsimMoments<T>& m) {
  const T mx2 = m.x * m.x, my2 = m.y * m.y, mxy = m.x * m.y;
  const T c1 = T(kSsimC1), c2 = T(kSsimC2), two = T(2.0);
  return (two * mxy + c1) * (two * (m.xy - mxy) + c2) / ((mx2 + my2 + c1) * (m.xx - mx2 + m.yy - my2 + c2));
}

// v_x, v_xx, v_xy: derivative of ssim with respect to those windowed means, as independent variables.
template <class T>
S3D_HD T ssim_and_vjp(const SsimMoments<T>& m, T& v_x, T& v_xx, T& v_xy) {
  const T mx2 = m.x * m.x, my2 = m.y * m.y, mxy = m.x * m.y;
  const T c1 = T(kSsimC1), c2 = T(kSsimC2), two = T(2.0);
  const T n1 = two * mxy + c1, n2 = two * (m.xy - mxy) + c2;
  const T d1 = mx2 + my2 + c1, d2 = m.xx - mx2 + m.yy - my2 + c2;
  const T inv1 = T(1.0) / d1, inv2 = T(1.0) / d2;
  const T luminance = n1 * inv1, structure = n2 * inv2;
  const T value = luminance * structure;
  v_xx = T(0.0) - value * inv2;
  v_xy = two * luminance * inv2;
  v_x = two * m.y * (structure * inv1 - luminance * inv2) + two * m.x * value * (inv2 - inv1);
  return value;
}

}  // namespace s3d
