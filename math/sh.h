// SPDX-License-Identifier: Apache-2.0
// Real spherical harmonics in the order and with the signs of 3DGS, degree 0 to 4, and their vjp with respect to the
// direction. Constants and polynomials: Sloan, "Efficient Spherical Harmonic Evaluation", JCGT 2013, appendix A2.
#pragma once

#include "math/scalar.h"
#include "math/thresholds.h"

namespace s3d {

// b: (degree + 1)^2 values at the unit direction (x, y, z).
template <class T>
S3D_HD void sh_basis(int degree, T x, T y, T z, T* b) {
  b[0] = T(kShC0);
  if (degree < 1) return;
  const T c1 = T(0.4886025119029199);
  b[1] = T(0.0) - c1 * y;
  b[2] = c1 * z;
  b[3] = T(0.0) - c1 * x;
  if (degree < 2) return;
  const T xx = x * x, yy = y * y, zz = z * z, xy = x * y, yz = y * z, xz = x * z;
  b[4] = T(1.0925484305920792) * xy;
  b[5] = T(-1.0925484305920792) * yz;
  b[6] = T(0.31539156525252005) * (T(2.0) * zz - xx - yy);
  b[7] = T(-1.0925484305920792) * xz;
  b[8] = T(0.5462742152960396) * (xx - yy);
  if (degree < 3) return;
  b[9] = T(-0.5900435899266435) * y * (T(3.0) * xx - yy);
  b[10] = T(2.890611442640554) * xy * z;
  b[11] = T(-0.4570457994644658) * y * (T(4.0) * zz - xx - yy);
  b[12] = T(0.3731763325901154) * z * (T(2.0) * zz - T(3.0) * xx - T(3.0) * yy);
  b[13] = T(-0.4570457994644658) * x * (T(4.0) * zz - xx - yy);
  b[14] = T(1.445305721320277) * z * (xx - yy);
  b[15] = T(-0.5900435899266435) * x * (xx - T(3.0) * yy);
  if (degree < 4) return;
  const T zz7 = T(7.0) * zz;
  b[16] = T(2.5033429417967046) * xy * (xx - yy);
  b[17] = T(-1.7701307697799304) * yz * (T(3.0) * xx - yy);
  b[18] = T(0.9461746957575601) * xy * (zz7 - T(1.0));
  b[19] = T(-0.6690465435572892) * yz * (zz7 - T(3.0));
  b[20] = T(0.10578554691520431) * (zz * (T(35.0) * zz - T(30.0)) + T(3.0));
  b[21] = T(-0.6690465435572892) * xz * (zz7 - T(3.0));
  b[22] = T(0.47308734787878004) * (xx - yy) * (zz7 - T(1.0));
  b[23] = T(-1.7701307697799304) * xz * (xx - T(3.0) * yy);
  b[24] = T(0.6258357354491761) * (xx * (xx - T(3.0) * yy) - yy * (T(3.0) * xx - yy));
}

// v_dir[3]: gradient with respect to (x, y, z) as free variables; the caller removes the radial part.
template <class T>
S3D_HD void sh_basis_vjp(int degree, T x, T y, T z, const T* v_b, T v_dir[3]) {
  T vx = T(0.0), vy = T(0.0), vz = T(0.0);
  if (degree >= 1) {
    const T c1 = T(0.4886025119029199);
    vx = T(0.0) - c1 * v_b[3];
    vy = T(0.0) - c1 * v_b[1];
    vz = c1 * v_b[2];
  }
  if (degree >= 2) {
    const T a = T(1.0925484305920792), b = T(0.31539156525252005), c = T(0.5462742152960396);
    const T v4 = a * v_b[4], v5 = a * v_b[5], v6 = b * v_b[6], v7 = a * v_b[7], v8 = c * v_b[8];
    vx += y * v4 - T(2.0) * x * v6 - z * v7 + T(2.0) * x * v8;
    vy += x * v4 - z * v5 - T(2.0) * y * v6 - T(2.0) * y * v8;
    vz += T(4.0) * z * v6 - y * v5 - x * v7;
  }
  if (degree >= 3) {
    const T xx = x * x, yy = y * y, zz = z * z, xy = x * y, yz = y * z, xz = x * z;
    const T v9 = T(-0.5900435899266435) * v_b[9], v10 = T(2.890611442640554) * v_b[10];
    const T v11 = T(-0.4570457994644658) * v_b[11], v12 = T(0.3731763325901154) * v_b[12];
    const T v13 = T(-0.4570457994644658) * v_b[13], v14 = T(1.445305721320277) * v_b[14];
    const T v15 = T(-0.5900435899266435) * v_b[15];
    vx += T(6.0) * xy * v9 + yz * v10 - T(2.0) * xy * v11 - T(6.0) * xz * v12 + (T(4.0) * zz - T(3.0) * xx - yy) * v13 +
          T(2.0) * xz * v14 + T(3.0) * (xx - yy) * v15;
    vy += T(3.0) * (xx - yy) * v9 + xz * v10 + (T(4.0) * zz - xx - T(3.0) * yy) * v11 - T(6.0) * yz * v12 -
          T(2.0) * xy * v13 - T(2.0) * yz * v14 - T(6.0) * xy * v15;
    vz += xy * v10 + T(8.0) * yz * v11 + (T(6.0) * zz - T(3.0) * xx - T(3.0) * yy) * v12 + T(8.0) * xz * v13 +
          (xx - yy) * v14;
  }
  if (degree >= 4) {
    const T xx = x * x, yy = y * y, zz = z * z, xy = x * y, zz7 = T(7.0) * zz;
    const T v16 = T(2.5033429417967046) * v_b[16], v17 = T(-1.7701307697799304) * v_b[17];
    const T v18 = T(0.9461746957575601) * v_b[18], v19 = T(-0.6690465435572892) * v_b[19];
    const T v20 = T(0.10578554691520431) * v_b[20], v21 = T(-0.6690465435572892) * v_b[21];
    const T v22 = T(0.47308734787878004) * v_b[22], v23 = T(-1.7701307697799304) * v_b[23];
    const T v24 = T(0.6258357354491761) * v_b[24];
    vx += y * (T(3.0) * xx - yy) * v16 + T(6.0) * xy * z * v17 + y * (zz7 - T(1.0)) * v18 + z * (zz7 - T(3.0)) * v21 +
          T(2.0) * x * (zz7 - T(1.0)) * v22 + T(3.0) * z * (xx - yy) * v23 + T(4.0) * x * (xx - T(3.0) * yy) * v24;
    vy += x * (xx - T(3.0) * yy) * v16 + T(3.0) * z * (xx - yy) * v17 + x * (zz7 - T(1.0)) * v18 +
          z * (zz7 - T(3.0)) * v19 - T(2.0) * y * (zz7 - T(1.0)) * v22 - T(6.0) * xy * z * v23 +
          T(4.0) * y * (yy - T(3.0) * xx) * v24;
    vz += y * (T(3.0) * xx - yy) * v17 + T(14.0) * xy * z * v18 + y * (T(21.0) * zz - T(3.0)) * v19 +
          z * (T(140.0) * zz - T(60.0)) * v20 + x * (T(21.0) * zz - T(3.0)) * v21 + T(14.0) * z * (xx - yy) * v22 +
          x * (xx - T(3.0) * yy) * v23;
  }
  v_dir[0] = vx;
  v_dir[1] = vy;
  v_dir[2] = vz;
}

}  // namespace s3d
