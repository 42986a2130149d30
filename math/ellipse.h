// SPDX-License-Identifier: Apache-2.0
// Where a splat's ellipse alpha >= kAlphaMin meets the pixel grid.
#pragma once

#include "math/scalar.h"

namespace s3d {

// The ellipse A dx^2 + 2 B dx dy + C dy^2 <= k around (x, y), in the form in which a line dy = const cuts it:
// dx = slope * dy -+ sqrt((k - rest * dy^2) / A).
template <class T>
struct Ellipse {
  T x, y, slope, k_over_a, rest_over_a, half_width, half_height;
  T dy_at_right;  // dy of the rightmost point; the leftmost is at -dy_at_right.
};

// conic (a, b, c) positive definite; k = 2 ln(255 opacity) > 0.
template <class T>
S3D_HD Ellipse<T> make_ellipse(T x, T y, T a, T b, T c, T k) {
  Ellipse<T> e;
  e.x = x;
  e.y = y;
  const T det = a * c - b * b;
  e.slope = T(0.0) - b / a;
  e.k_over_a = k / a;
  e.rest_over_a = det / (a * a);
  e.half_width = sqrt(k * c / det);
  e.half_height = sqrt(k * a / det);
  e.dy_at_right = (T(0.0) - b) * sqrt(k / (c * det));
  return e;
}

// The x range that the ellipse covers within the band of rows y0 <= y <= y1, exactly. Empty: left > right.
template <class T>
S3D_HD void ellipse_band(const Ellipse<T>& e, T y0, T y1, T& left, T& right) {
  const T d0 = max(y0 - e.y, T(0.0) - e.half_height), d1 = min(y1 - e.y, e.half_height);
  const T d_right = min(max(e.dy_at_right, d0), d1), d_left = min(max(T(0.0) - e.dy_at_right, d0), d1);
  const auto hit = d0 <= d1;
  right = select(hit, e.x + e.slope * d_right + sqrt(max(e.k_over_a - e.rest_over_a * d_right * d_right, T(0.0))), T(-1e30));
  left = select(hit, e.x + e.slope * d_left - sqrt(max(e.k_over_a - e.rest_over_a * d_left * d_left, T(0.0))), T(1e30));
}

}  // namespace s3d
