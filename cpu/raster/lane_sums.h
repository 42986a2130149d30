// SPDX-License-Identifier: Apache-2.0
// Sums over the lanes of several accumulators at once.
#pragma once

#include "math/lane.h"

namespace s3d {

// out[i] = sum of the lanes of a[i], i < 4.
S3D_HD void sum_lanes_of_4(const Lane* a, float* out) {
#if defined(__AVX2__)
  __m256 v[4];
  for (int i = 0; i < 4; ++i) {
#if defined(__AVX512F__)
    const __m512 wide = (__m512)a[i].v;
    v[i] = _mm256_add_ps(_mm512_castps512_ps256(wide), _mm512_extractf32x8_ps(wide, 1));
#else
    v[i] = (__m256)a[i].v;
#endif
  }
  const __m256 sums = _mm256_hadd_ps(_mm256_hadd_ps(v[0], v[1]), _mm256_hadd_ps(v[2], v[3]));
  _mm_storeu_ps(out, _mm_add_ps(_mm256_castps256_ps128(sums), _mm256_extractf128_ps(sums, 1)));
#else
  for (int i = 0; i < 4; ++i) out[i] = horizontal_sum(a[i]);
#endif
}

}  // namespace s3d
