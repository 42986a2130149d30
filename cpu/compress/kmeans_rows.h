// SPDX-License-Identifier: Apache-2.0
// Loops over one padded row, in lanes: what the clustering kernels share.
#pragma once

#include <cstring>

#include "math/lane.h"

namespace s3d {

// stride is a multiple of kKmeansPad, and with it of kLanes.
inline float dot(const float* a, const float* b, int stride) {
  Lane sum(0.0f);
  for (int d = 0; d < stride; d += kLanes) sum += Lane::load(a + d) * Lane::load(b + d);
  return horizontal_sum(sum);
}

inline float squared_distance(const float* a, const float* b, int stride) {
  Lane sum(0.0f);
  for (int d = 0; d < stride; d += kLanes) {
    const Lane difference = Lane::load(a + d) - Lane::load(b + d);
    sum += difference * difference;
  }
  return horizontal_sum(sum);
}

inline void add_row(float* sum, const float* row, int stride) {
  for (int d = 0; d < stride; d += kLanes) (Lane::load(sum + d) + Lane::load(row + d)).store(sum + d);
}

}  // namespace s3d
