// SPDX-License-Identifier: Apache-2.0
// Between rows in memory (one splat's numbers side by side) and lanes (one number of kLanes splats).
#pragma once

#include <cstdint>

#include "math/lane.h"

namespace s3d {

// The rows that one group of lanes works on; past the end the last row is repeated.
struct LaneRows {
  std::int64_t row[kLanes];
  int count;  // Lanes in use.

  static LaneRows contiguous(std::int64_t first, std::int64_t end) {
    LaneRows out;
    out.count = static_cast<int>(end - first < kLanes ? end - first : kLanes);
    for (int i = 0; i < kLanes; ++i) out.row[i] = first + (i < out.count ? i : out.count - 1);
    return out;
  }
};

// out[c] = base[row * stride + c] for c < C.
template <int C>
S3D_HD void load_rows(const float* base, std::int64_t stride, const LaneRows& rows, Lane* out) {
  for (int c = 0; c < C; ++c) {
    Lane lane;
    for (int i = 0; i < kLanes; ++i) lane.v[i] = base[rows.row[i] * stride + c];
    out[c] = lane;
  }
}

}  // namespace s3d
