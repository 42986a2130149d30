// SPDX-License-Identifier: Apache-2.0
// The small set of operations that formulas in math/ may use, for float and double. lane.h has the same set for
// SIMD lanes. A formula that lanes go through never branches on their values, it calls select(mask, a, b); it may
// branch on what all lanes share (the degree in sh.h). interval_error in kmeans.h takes single numbers and branches.
#pragma once

#include <cmath>

#include "math/platform.h"

namespace s3d {

S3D_HD float select(bool mask, float a, float b) { return mask ? a : b; }
S3D_HD double select(bool mask, double a, double b) { return mask ? a : b; }
S3D_HD float sqrt(float x) { return ::sqrtf(x); }
S3D_HD double sqrt(double x) { return ::sqrt(x); }
S3D_HD float exp2(float x) { return ::exp2f(x); }
S3D_HD double exp2(double x) { return ::exp2(x); }
S3D_HD float log2(float x) { return ::log2f(x); }
S3D_HD double log2(double x) { return ::log2(x); }
S3D_HD float abs(float x) { return ::fabsf(x); }
S3D_HD double abs(double x) { return ::fabs(x); }
S3D_HD float min(float a, float b) { return a < b ? a : b; }
S3D_HD double min(double a, double b) { return a < b ? a : b; }
S3D_HD float max(float a, float b) { return a > b ? a : b; }
S3D_HD double max(double a, double b) { return a > b ? a : b; }
// Sets the sign bit: marks a value as "no longer counted" without losing it.
S3D_HD float negative(float x) { return -::fabsf(x); }
S3D_HD double negative(double x) { return -::fabs(x); }
// False for NaN and both infinities.
S3D_HD bool is_finite(float x) { return x - x == 0.0f; }
S3D_HD bool is_finite(double x) { return x - x == 0.0; }

// e^x and the logistic function through the one exponential that lanes have too.
template <class T>
S3D_HD T exp(T x) {
  return exp2(x * T(1.4426950408889634));
}
template <class T>
S3D_HD T sigmoid(T x) {
  return T(1.0) / (T(1.0) + exp(T(0.0) - x));
}

}  // namespace s3d
