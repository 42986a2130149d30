// SPDX-License-Identifier: Apache-2.0
// From a 3D Gaussian to its footprint in a pinhole image: EWA splatting (Zwicker et al. 2001, "EWA volume splatting",
// eq. 26-31) as 3DGS uses it, with the low-pass filter and Mip-Splatting's compensation (Yu et al. 2024, eq. 10).
// Forward and vjp of one splat; culling and loops are the caller's.
#pragma once

#include "math/quaternion.h"
#include "math/scalar.h"
#include "math/thresholds.h"

namespace s3d {

template <class T>
struct Pinhole {
  T r[9], t[3];                  // cam_from_world, rows of the rotation.
  T centre[3];                   // -R^T t, the camera in the world.
  T fx, fy, cx, cy;              // Pixels.
  T u_min, u_max, v_min, v_max;  // Where x/z and y/z are clamped for the Jacobian.
};

// Fills the clamp limits: kFovClamp times the field of view, measured from the principal point as in gsplat.
template <class T>
S3D_HD void set_jacobian_limits(Pinhole<T>& c, T width, T height) {
  const T margin_u = T(kFovClamp - 1.0) * T(0.5) * width / c.fx;
  const T margin_v = T(kFovClamp - 1.0) * T(0.5) * height / c.fy;
  c.u_min = T(0.0) - c.cx / c.fx - margin_u;
  c.u_max = (width - c.cx) / c.fx + margin_u;
  c.v_min = T(0.0) - c.cy / c.fy - margin_v;
  c.v_max = (height - c.cy) / c.fy + margin_v;
}

// A splat's geometry, activated except for the quaternion's length.
template <class T>
struct SplatShape {
  T mean[3], quat[4], scale[3];
};

// What both directions need.
template <class T>
struct Footprint {
  T x, y, z;         // Mean in the camera frame.
  T px, py;          // Mean in the image, pixels.
  T a, b, c;         // 2D covariance with the low-pass filter, px^2.
  T det, det_sharp;  // Determinants with and without the filter.
  T rot[9], w0[3], w1[3], v0[3], v1[3], u, v;
  T compensation;  // sqrt(det_sharp / det), the opacity factor in antialias mode.
};

template <class T>
S3D_HD void project_splat(const SplatShape<T>& s, const Pinhole<T>& c, Footprint<T>& f) {
  f.x = c.r[0] * s.mean[0] + c.r[1] * s.mean[1] + c.r[2] * s.mean[2] + c.t[0];
  f.y = c.r[3] * s.mean[0] + c.r[4] * s.mean[1] + c.r[5] * s.mean[2] + c.t[1];
  f.z = c.r[6] * s.mean[0] + c.r[7] * s.mean[1] + c.r[8] * s.mean[2] + c.t[2];
  const T inv_z = T(1.0) / f.z;
  f.px = c.fx * f.x * inv_z + c.cx;
  f.py = c.fy * f.y * inv_z + c.cy;
  f.u = min(max(f.x * inv_z, c.u_min), c.u_max);
  f.v = min(max(f.y * inv_z, c.v_min), c.v_max);
  const T jx = c.fx * inv_z, jy = c.fy * inv_z;
  rotation_from_quat(s.quat, f.rot);
  for (int k = 0; k < 3; ++k) {
    f.w0[k] = jx * (c.r[k] - f.u * c.r[6 + k]);
    f.w1[k] = jy * (c.r[3 + k] - f.v * c.r[6 + k]);
  }
  for (int k = 0; k < 3; ++k) {
    f.v0[k] = (f.w0[0] * f.rot[k] + f.w0[1] * f.rot[3 + k] + f.w0[2] * f.rot[6 + k]) * s.scale[k];
    f.v1[k] = (f.w1[0] * f.rot[k] + f.w1[1] * f.rot[3 + k] + f.w1[2] * f.rot[6 + k]) * s.scale[k];
  }
  const T a = f.v0[0] * f.v0[0] + f.v0[1] * f.v0[1] + f.v0[2] * f.v0[2];
  const T c2 = f.v1[0] * f.v1[0] + f.v1[1] * f.v1[1] + f.v1[2] * f.v1[2];
  f.b = f.v0[0] * f.v1[0] + f.v0[1] * f.v1[1] + f.v0[2] * f.v1[2];
  // |v0 x v1|^2 = a c - b^2 without the cancellation that needles suffer in single precision.
  const T n0 = f.v0[1] * f.v1[2] - f.v0[2] * f.v1[1];
  const T n1 = f.v0[2] * f.v1[0] - f.v0[0] * f.v1[2];
  const T n2 = f.v0[0] * f.v1[1] - f.v0[1] * f.v1[0];
  f.det_sharp = n0 * n0 + n1 * n1 + n2 * n2;
  const T low_pass = T(kLowPassPx2);
  f.det = f.det_sharp + low_pass * (a + c2) + low_pass * low_pass;
  f.a = a + low_pass;
  f.c = c2 + low_pass;
  f.compensation = sqrt(max(f.det_sharp / f.det, T(kCompensationFloor)));
}

// Gradients arriving at a footprint. conic = (c, -b, a) / det weighs 0.5 A dx^2 + B dx dy + 0.5 C dy^2.
template <class T>
struct FootprintGradient {
  T px, py, z, conic_a, conic_b, conic_c, compensation;
};

// v_s: gradients of mean, raw quaternion, scale. v_cam_x/y/z: gradient of the mean in the camera frame.
// v_r[9]: the part of the rotation's gradient that comes through the covariance only.
template <class T>
S3D_HD void project_splat_vjp(const SplatShape<T>& s, const Pinhole<T>& c, const Footprint<T>& f,
                              const FootprintGradient<T>& g, SplatShape<T>& v_s, T v_cam[3], T v_r[9]) {
  // conic = (c, -b, a) / det. The determinant's share goes back through the normal n = v0 x v1, because
  // Q G Q cancels for needles: in float32, 9 % of random ones were off by more than 1e-4, some by all digits.
  const T inv_det = T(1.0) / f.det;
  const T low_pass = T(kLowPassPx2), two = T(2.0);
  const auto lively = f.det_sharp * inv_det > T(kCompensationFloor);
  const T v_half_log = select(lively, T(0.5) * g.compensation * f.compensation, T(0.0));
  const T v_det = T(0.0) - ((f.c * g.conic_a - f.b * g.conic_b + f.a * g.conic_c) * inv_det + v_half_log) * inv_det;
  const T v_sharp = v_det + select(lively, v_half_log / max(f.det_sharp, T(1e-30)), T(0.0));
  const T v_a = g.conic_c * inv_det + low_pass * v_det;
  const T v_b = T(0.0) - g.conic_b * inv_det;
  const T v_c = g.conic_a * inv_det + low_pass * v_det;
  T v_n[3], v_v0[3], v_v1[3], v_w0[3], v_w1[3], v_rot[9];
  v_n[0] = two * v_sharp * (f.v0[1] * f.v1[2] - f.v0[2] * f.v1[1]);
  v_n[1] = two * v_sharp * (f.v0[2] * f.v1[0] - f.v0[0] * f.v1[2]);
  v_n[2] = two * v_sharp * (f.v0[0] * f.v1[1] - f.v0[1] * f.v1[0]);
  for (int k = 0; k < 3; ++k) {
    const int i = (k + 1) % 3, j = (k + 2) % 3;
    v_v0[k] = two * v_a * f.v0[k] + v_b * f.v1[k] + f.v1[i] * v_n[j] - f.v1[j] * v_n[i];
    v_v1[k] = two * v_c * f.v1[k] + v_b * f.v0[k] + v_n[i] * f.v0[j] - v_n[j] * f.v0[i];
  }
  for (int i = 0; i < 3; ++i) {
    T w0 = T(0.0), w1 = T(0.0);
    for (int k = 0; k < 3; ++k) {
      const T m = f.rot[3 * i + k] * s.scale[k];
      w0 += v_v0[k] * m;
      w1 += v_v1[k] * m;
      v_rot[3 * i + k] = (f.w0[i] * v_v0[k] + f.w1[i] * v_v1[k]) * s.scale[k];
    }
    v_w0[i] = w0;
    v_w1[i] = w1;
  }
  for (int k = 0; k < 3; ++k) {
    v_s.scale[k] = (f.w0[0] * f.rot[k] + f.w0[1] * f.rot[3 + k] + f.w0[2] * f.rot[6 + k]) * v_v0[k] +
                   (f.w1[0] * f.rot[k] + f.w1[1] * f.rot[3 + k] + f.w1[2] * f.rot[6 + k]) * v_v1[k];
  }
  rotation_from_quat_vjp(s.quat, v_rot, v_s.quat);

  // w0 = jx (r_x - u r_z), w1 = jy (r_y - v r_z), jx = fx / z, jy = fy / z.
  const T inv_z = T(1.0) / f.z;
  const T jx = c.fx * inv_z, jy = c.fy * inv_z;
  T dot0 = T(0.0), dot1 = T(0.0), dot0z = T(0.0), dot1z = T(0.0);
  for (int k = 0; k < 3; ++k) {
    dot0 += v_w0[k] * (c.r[k] - f.u * c.r[6 + k]);
    dot1 += v_w1[k] * (c.r[3 + k] - f.v * c.r[6 + k]);
    dot0z += v_w0[k] * c.r[6 + k];
    dot1z += v_w1[k] * c.r[6 + k];
    v_r[k] = jx * v_w0[k];
    v_r[3 + k] = jy * v_w1[k];
    v_r[6 + k] = T(0.0) - jx * f.u * v_w0[k] - jy * f.v * v_w1[k];
  }
  const T raw_u = f.x * inv_z, raw_v = f.y * inv_z;
  const T v_u = select((raw_u >= c.u_min) & (raw_u <= c.u_max), T(0.0) - jx * dot0z, T(0.0));
  const T v_v = select((raw_v >= c.v_min) & (raw_v <= c.v_max), T(0.0) - jy * dot1z, T(0.0));
  v_cam[0] = jx * g.px + v_u * inv_z;
  v_cam[1] = jy * g.py + v_v * inv_z;
  v_cam[2] =
      g.z - (jx * dot0 + jy * dot1) * inv_z - (jx * g.px + v_u * inv_z) * raw_u - (jy * g.py + v_v * inv_z) * raw_v;
  for (int k = 0; k < 3; ++k) v_s.mean[k] = c.r[k] * v_cam[0] + c.r[3 + k] * v_cam[1] + c.r[6 + k] * v_cam[2];
}

}  // namespace s3d
