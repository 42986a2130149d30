// SPDX-License-Identifier: Apache-2.0
// Formulas of clustering: what a nearest-entry search compares, and which entries it may leave out.
#pragma once

#include "math/scalar.h"

namespace s3d {

// |x - c|^2 / 2 up to |x|^2 / 2, which is the same for every entry c. half_norm = |c|^2 / 2, dot = x . c.
template <class T>
S3D_HD T entry_score(T half_norm, T dot) {
  return half_norm - dot;
}

// The score above which no entry can be the nearest one of any vector of a group with centre b. By the triangle
// inequality |c - x| >= |c - b| - |x - b|, so an entry farther from b than reach = max over x of (|x - b| + |x - its
// entry|) is out (Hamerly 2010, "Making k-means even faster", for a group instead of a vector). The factor covers the
// rounding of scores in float.
template <class T>
S3D_HD T score_limit(T reach, T norm_of_centre) {
  const T slack = T(1e-5f) * (reach * reach + norm_of_centre);
  return (reach * reach - norm_of_centre) * T(0.5f) + slack;
}

// Squared error of an interval of sorted values about its weighted mean, from the sums of w, w x and w x^2.
template <class T>
S3D_HD T interval_error(T weight, T sum, T sum_of_squares) {
  if (!(weight > T(0.0))) return T(0.0);
  const T error = sum_of_squares - sum * sum / weight;
  return error > T(0.0) ? error : T(0.0);
}

}  // namespace s3d
