// SPDX-License-Identifier: Apache-2.0
// The best intervals for a codebook of single numbers, by dynamic programming. The caller owns every buffer.
#pragma once

#include <cstdint>

namespace s3d {

// Cuts n sorted bins into `count` <= n intervals with the least sum of squared errors about their weighted means
// (exact: Bruce 1965; Wu 1991 and Grønlund et al. 2017 for the monotone choice that makes it O(count n log n)).
// sums [n + 1, 3]: running sums of w, w x and w x^2 before each bin. starts [count + 1]: first bin of every interval.
void codebook_intervals(const double* sums, std::int32_t n, std::int32_t count, std::int32_t* starts);

}  // namespace s3d
