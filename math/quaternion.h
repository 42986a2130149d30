// SPDX-License-Identifier: Apache-2.0
// Rotation matrix of a quaternion (w, x, y, z) of any non-zero length, and its vjp.
#pragma once

#include "math/scalar.h"

namespace s3d {

// r[3*i+j] is row i, column j.
template <class T>
S3D_HD void rotation_from_quat(const T q[4], T r[9]) {
  const T inv = T(1.0) / sqrt(q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + q[3] * q[3]);
  const T w = q[0] * inv, x = q[1] * inv, y = q[2] * inv, z = q[3] * inv;
  const T one = T(1.0), two = T(2.0);
  r[0] = one - two * (y * y + z * z);
  r[1] = two * (x * y - w * z);
  r[2] = two * (x * z + w * y);
  r[3] = two * (x * y + w * z);
  r[4] = one - two * (x * x + z * z);
  r[5] = two * (y * z - w * x);
  r[6] = two * (x * z - w * y);
  r[7] = two * (y * z + w * x);
  r[8] = one - two * (x * x + y * y);
}

// v_q: gradient of the raw (not normalised) quaternion.
template <class T>
S3D_HD void rotation_from_quat_vjp(const T q[4], const T v_r[9], T v_q[4]) {
  const T inv = T(1.0) / sqrt(q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + q[3] * q[3]);
  const T w = q[0] * inv, x = q[1] * inv, y = q[2] * inv, z = q[3] * inv;
  const T two = T(2.0);
  T v[4];
  v[0] = two * (x * (v_r[7] - v_r[5]) + y * (v_r[2] - v_r[6]) + z * (v_r[3] - v_r[1]));
  v[1] = two * (w * (v_r[7] - v_r[5]) + y * (v_r[1] + v_r[3]) + z * (v_r[2] + v_r[6]) - two * x * (v_r[4] + v_r[8]));
  v[2] = two * (w * (v_r[2] - v_r[6]) + x * (v_r[1] + v_r[3]) + z * (v_r[5] + v_r[7]) - two * y * (v_r[0] + v_r[8]));
  v[3] = two * (w * (v_r[3] - v_r[1]) + x * (v_r[2] + v_r[6]) + y * (v_r[5] + v_r[7]) - two * z * (v_r[0] + v_r[4]));
  const T along = v[0] * w + v[1] * x + v[2] * y + v[3] * z;
  v_q[0] = (v[0] - along * w) * inv;
  v_q[1] = (v[1] - along * x) * inv;
  v_q[2] = (v[2] - along * y) * inv;
  v_q[3] = (v[3] - along * z) * inv;
}

}  // namespace s3d
