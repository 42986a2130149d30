// SPDX-License-Identifier: Apache-2.0
// Where a splat's ellipse alpha >= kAlphaMin meets the pixel grid.
#pragma once

#include "math/scalar.h"

namespace s3d {

// The ellipse around (x, y), in the form in which a line dy = const cuts it: dx = slope * dy -+ sqrt(reach - rest *
// dy^2).
template <class T>
struct Ellipse {
  T x, y, slope, rest, reach, half_width, half_height;
  T dy_at_right;  // dy of the rightmost point; the leftmost is at -dy_at_right.
};

template <class T>
S3D_HD Ellipse<T> make_ellipse(T x, T y, T slope, T rest, T reach) {
  Ellipse<T> e;
  e.x = x;
  e.y = y;
  e.slope = slope;
  e.rest = rest;
  e.reach = reach;
  const T half_height2 = reach / rest;
  e.half_height = sqrt(half_height2);
  e.half_width = sqrt(reach + slope * slope * half_height2);
  e.dy_at_right = slope * half_height2 / e.half_width;
  return e;
}

// The ellipse d^T P^-1 d <= k of a covariance P = [[a, b], [b, c]] with determinant det; nothing cancels for needles.
template <class T>
S3D_HD Ellipse<T> ellipse_of_covariance(T x, T y, T a, T b, T c, T det, T k) {
  Ellipse<T> e;
  const T inv_c = T(1.0) / c;
  e.x = x;
  e.y = y;
  e.slope = b * inv_c;
  e.rest = det * inv_c * inv_c;
  e.reach = k * det * inv_c;
  e.half_width = sqrt(k * a);
  e.half_height = sqrt(k * c);
  e.dy_at_right = b * sqrt(k / a);
  return e;
}

// The x range that the ellipse covers within the band of rows y0 <= y <= y1, exactly. Empty: left > right.
template <class T>
S3D_HD void ellipse_band(const Ellipse<T>& e, T y0, T y1, T& left, T& right) {
  const T d0 = max(y0 - e.y, T(0.0) - e.half_height), d1 = min(y1 - e.y, e.half_height);
  const T d_right = min(max(e.dy_at_right, d0), d1), d_left = min(max(T(0.0) - e.dy_at_right, d0), d1);
  const auto hit = d0 <= d1;
  right = select(hit, e.x + e.slope * d_right + sqrt(max(e.reach - e.rest * d_right * d_right, T(0.0))), T(-1e30));
  left = select(hit, e.x + e.slope * d_left - sqrt(max(e.reach - e.rest * d_left * d_left, T(0.0))), T(1e30));
}

}  // namespace s3d
