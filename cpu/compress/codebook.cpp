// SPDX-License-Identifier: Apache-2.0
#include "cpu/compress/codebook.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "math/kmeans.h"

namespace s3d {
namespace {

struct Layer {
  const double* sums;
  const std::vector<double>& before;  // Least error of the first j bins in one interval fewer.
  std::vector<double>& now;
  std::int32_t* from;  // Where the last interval begins.

  double error(std::int32_t begin, std::int32_t end) const {
    const double *a = sums + 3 * begin, *b = sums + 3 * end;
    return interval_error(b[0] - a[0], b[1] - a[1], b[2] - a[2]);
  }

  // Ends low..high, whose last intervals begin at first..last: the best beginning never falls as the end rises.
  void solve(std::int32_t low, std::int32_t high, std::int32_t first, std::int32_t last) {
    if (low > high) return;
    const std::int32_t end = low + (high - low) / 2;
    double least = std::numeric_limits<double>::infinity();
    std::int32_t best = first;
    for (std::int32_t begin = first; begin <= std::min(last, end - 1); ++begin) {
      const double total = before[begin] + error(begin, end);
      if (total < least) {
        least = total;
        best = begin;
      }
    }
    now[end] = least;
    from[end] = best;
    solve(low, end - 1, first, best);
    solve(end + 1, high, best, last);
  }
};

}  // namespace

void codebook_intervals(const double* sums, std::int32_t n, std::int32_t count, std::int32_t* starts) {
  const auto size = static_cast<std::size_t>(n) + 1;
  std::vector<std::int32_t> from(size * static_cast<std::size_t>(count));
  std::vector<double> before(size, std::numeric_limits<double>::infinity()), now(before);
  before[0] = 0.0;
  for (std::int32_t k = 0; k < count; ++k) {
    Layer layer{sums, before, now, from.data() + size * static_cast<std::size_t>(k)};
    std::fill(now.begin(), now.end(), std::numeric_limits<double>::infinity());
    // k + 1 intervals end at bin k + 1 at least, and leave a bin for each interval that follows.
    layer.solve(k + 1, n - (count - 1 - k), k, n - 1);
    std::swap(before, now);
  }
  starts[count] = n;
  for (std::int32_t k = count - 1; k >= 0; --k) starts[k] = from[size * static_cast<std::size_t>(k) + starts[k + 1]];
}

}  // namespace s3d
