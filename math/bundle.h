// SPDX-License-Identifier: Apache-2.0
// K independent lane groups taken through a formula together, operation by operation, so that their chains of
// dependent operations overlap.
#pragma once

#include "math/lane.h"

namespace s3d {

template <int K>
struct Bundle {
  Lane v[K];

  Bundle() = default;
  S3D_HD Bundle(Lane x) {
    for (int k = 0; k < K; ++k) v[k] = x;
  }
  S3D_HD Bundle(float x) : Bundle(Lane(x)) {}
  S3D_HD Bundle(double x) : Bundle(Lane(x)) {}
};

template <int K>
struct BundleMask {
  Mask v[K];
};

#define S3D_BUNDLE_OPERATOR(op)                              \
  template <int K>                                           \
  S3D_HD Bundle<K> operator op(Bundle<K> a, Bundle<K> b) {   \
    Bundle<K> out;                                           \
    for (int k = 0; k < K; ++k) out.v[k] = a.v[k] op b.v[k]; \
    return out;                                              \
  }
S3D_BUNDLE_OPERATOR(+)
S3D_BUNDLE_OPERATOR(-)
S3D_BUNDLE_OPERATOR(*)
S3D_BUNDLE_OPERATOR(/)
#undef S3D_BUNDLE_OPERATOR

#define S3D_BUNDLE_COMPARISON(op)                              \
  template <int K>                                             \
  S3D_HD BundleMask<K> operator op(Bundle<K> a, Bundle<K> b) { \
    BundleMask<K> out;                                         \
    for (int k = 0; k < K; ++k) out.v[k] = a.v[k] op b.v[k];   \
    return out;                                                \
  }
S3D_BUNDLE_COMPARISON(<)
S3D_BUNDLE_COMPARISON(>)
S3D_BUNDLE_COMPARISON(<=)
S3D_BUNDLE_COMPARISON(>=)
#undef S3D_BUNDLE_COMPARISON

template <int K>
S3D_HD BundleMask<K> operator&(BundleMask<K> a, BundleMask<K> b) {
  for (int k = 0; k < K; ++k) a.v[k] = a.v[k] & b.v[k];
  return a;
}
template <int K>
S3D_HD Bundle<K> select(BundleMask<K> mask, Bundle<K> a, Bundle<K> b) {
  for (int k = 0; k < K; ++k) a.v[k] = select(mask.v[k], a.v[k], b.v[k]);
  return a;
}
template <int K>
S3D_HD Bundle<K> min(Bundle<K> a, Bundle<K> b) {
  for (int k = 0; k < K; ++k) a.v[k] = min(a.v[k], b.v[k]);
  return a;
}
template <int K>
S3D_HD Bundle<K> max(Bundle<K> a, Bundle<K> b) {
  for (int k = 0; k < K; ++k) a.v[k] = max(a.v[k], b.v[k]);
  return a;
}
template <int K>
S3D_HD Bundle<K> abs(Bundle<K> a) {
  for (int k = 0; k < K; ++k) a.v[k] = abs(a.v[k]);
  return a;
}
template <int K>
S3D_HD Bundle<K> negative(Bundle<K> a) {
  for (int k = 0; k < K; ++k) a.v[k] = negative(a.v[k]);
  return a;
}
template <int K>
S3D_HD Bundle<K> exp2(Bundle<K> a) {
  // Written out, not called lane by lane, so that the chains interleave.
  typedef typename Mask::V I;
  Bundle<K> shifted = a + Bundle<K>(detail::kExp2Shift);
  const Bundle<K> f = a - (shifted - Bundle<K>(detail::kExp2Shift));
  Bundle<K> y = detail::exp2_polynomial(f);
  for (int k = 0; k < K; ++k) y.v[k] = detail::add_exponent(y.v[k], (I)shifted.v[k].v);
  return y;
}

}  // namespace s3d
