// SPDX-License-Identifier: Apache-2.0
// Formulas of dense depth from posed photos.
//
// A hypothesis about a pixel is a plane, written by its inverse depth: w(u, v) = w + gx (u - u0) + gy (v - v0) is exact
// for a plane in space, so that propagating it to a neighbour, warping a patch by it and refining it are all linear.
#pragma once

#include "math/scalar.h"

namespace s3d {

template <class T>
struct InversePlane {
  T w, gx, gy;  // 1 / world units, and the same per pixel.
};

template <class T>
S3D_HD T inverse_depth(const InversePlane<T>& p, T du, T dv) {
  return p.w + p.gx * du + p.gy * dv;
}

// From a reference pixel (u, v) at inverse depth w to a source: q = A (u, v, 1) + b w, pixel (q0 / q2, q1 / q2), and
// q2 / w is the depth there. A = K_s R K_r^-1 row by row, b = K_s t.
template <class T>
struct Warp {
  T a[9], b[3];
};

template <class T>
struct Homogeneous {
  T x, y, z;
};

template <class T>
S3D_HD Homogeneous<T> warp(const Warp<T>& m, T u, T v, T w) {
  return {m.a[0] * u + m.a[1] * v + m.a[2] + m.b[0] * w, m.a[3] * u + m.a[4] * v + m.a[5] + m.b[1] * w,
          m.a[6] * u + m.a[7] * v + m.a[8] + m.b[2] * w};
}

// The derivatives of the warp over the plane: how q changes by a pixel in u and in v.
template <class T>
S3D_HD Homogeneous<T> warp_du(const Warp<T>& m, const InversePlane<T>& p) {
  return {m.a[0] + m.b[0] * p.gx, m.a[3] + m.b[1] * p.gx, m.a[6] + m.b[2] * p.gx};
}
template <class T>
S3D_HD Homogeneous<T> warp_dv(const Warp<T>& m, const InversePlane<T>& p) {
  return {m.a[1] + m.b[0] * p.gy, m.a[4] + m.b[1] * p.gy, m.a[7] + m.b[2] * p.gy};
}

// 1 - zero-mean normalised cross-correlation of two weighted patches, 0 (same) to 2 (inverted). The noise variance
// pulls patches without texture to 1, which says nothing either way.
template <class T>
S3D_HD T zncc_cost(T covariance, T variance_a, T variance_b, T noise) {
  return T(1.0) - covariance / sqrt((variance_a + noise) * (variance_b + noise));
}

// The plane's normal in camera axes, not of unit length, turned to the camera; (x, y, 1) is the pixel's ray.
template <class T>
S3D_HD void plane_normal(const InversePlane<T>& p, T fx, T fy, T x, T y, T normal[3]) {
  // w(u, v) = n . K^-1 (u, v, 1) / d gives n / (n . ray) = (gx fx, gy fy, .) / w, whose product with the ray is 1.
  const T sx = p.gx * fx / p.w, sy = p.gy * fy / p.w;
  normal[0] = T(0.0) - sx;
  normal[1] = T(0.0) - sy;
  normal[2] = sx * x + sy * y - T(1.0);
}

}  // namespace s3d
