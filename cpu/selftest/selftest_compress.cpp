// SPDX-License-Identifier: Apache-2.0
// Nearest entries against a plain loop in double, the best intervals against every cut, and a grid that gets smoother.
#include <numeric>
#include <vector>

#include "cpu/compress/codebook.h"
#include "cpu/compress/grid_order.h"
#include "cpu/compress/kmeans.h"
#include "cpu/selftest/selftest.h"
#include "math/kmeans.h"

namespace s3d::selftest {
namespace {

constexpr int kDim = 9, kStride = 16, kVectors = 700, kEntries = 150;

std::vector<float> random_rows(Random& random, int count) {
  std::vector<float> out(static_cast<std::size_t>(count) * kStride, 0.0f);
  for (int i = 0; i < count; ++i)
    for (int d = 0; d < kDim; ++d) out[i * kStride + d] = static_cast<float>(random.uniform(-1.0, 1.0));
  return out;
}

double distance(const float* a, const float* b) {
  double sum = 0.0;
  for (int d = 0; d < kDim; ++d) sum += (static_cast<double>(a[d]) - b[d]) * (static_cast<double>(a[d]) - b[d]);
  return sum;
}

// Largest excess of a found entry's squared distance over the least one.
double excess(const Rows& vectors, const Rows& entries, const std::vector<std::int32_t>& labels) {
  double worst = 0.0;
  for (int i = 0; i < kVectors; ++i) {
    double least = INFINITY;
    for (int p = 0; p < kEntries; ++p) least = std::min(least, distance(vectors[i], entries[p]));
    worst = std::max(worst, distance(vectors[i], entries[labels[i]]) - least);
  }
  return worst;
}

void check_kmeans(Report& report) {
  Random random{21};
  const std::vector<float> x = random_rows(random, kVectors);
  std::vector<float> c = random_rows(random, kEntries);
  const Rows vectors = {x.data(), kVectors, kDim, kStride}, entries = {c.data(), kEntries, kDim, kStride};
  std::vector<float> norms(kEntries), errors(kVectors);
  for (int p = 0; p < kEntries; ++p) {
    const std::vector<float> zero(kStride, 0.0f);
    norms[p] = static_cast<float>(0.5 * distance(entries[p], zero.data()));
  }
  std::vector<std::int32_t> labels(kVectors, -1), order(kVectors), starts(kEntries + 1);
  kmeans_assign(vectors, entries, norms.data(), labels.data(), errors.data());
  report.below("kmeans: nearest of all entries", excess(vectors, entries, labels), 1e-5);
  std::vector<std::int32_t> near(kVectors, 0);
  std::iota(order.begin(), order.end(), 0);
  const auto cut =
      kmeans_assign_near(vectors, entries, norms.data(), order.data(), kEntries, near.data(), errors.data());
  report.holds("kmeans: no list is cut where all fit", cut == 0);
  report.below("kmeans: nearest of the entries near a group", excess(vectors, entries, near), 1e-5);

  const auto cells = kmeans_split(vectors, nullptr, kEntries, 0, order.data(), starts.data());
  report.holds("kmeans: a tree has as many cells as wanted", cells == kEntries);
  kmeans_update(vectors, nullptr, order.data(), starts.data(), kEntries, c.data());
  double tree = 0.0, whole = 0.0, mean_error = 0.0;
  std::vector<float> mean(kStride, 0.0f);
  for (int i = 0; i < kVectors; ++i)
    for (int d = 0; d < kDim; ++d) mean[d] += vectors[i][d] / kVectors;
  for (int p = 0; p < kEntries; ++p)
    for (int d = 0; d < kDim; ++d) {
      double sum = 0.0;
      for (int k = starts[p]; k < starts[p + 1]; ++k) sum += vectors[order[k]][d];
      mean_error = std::max(mean_error, std::fabs(sum / (starts[p + 1] - starts[p]) - entries[p][d]));
    }
  for (int p = 0; p < kEntries; ++p)
    for (int k = starts[p]; k < starts[p + 1]; ++k) tree += distance(vectors[order[k]], entries[p]);
  for (int i = 0; i < kVectors; ++i) whole += distance(vectors[i], mean.data());
  report.below("kmeans: means", mean_error, 1e-6);
  report.below("kmeans: error of the tree's cells over the whole's", tree / whole, 0.35);
}

void check_intervals(Report& report) {
  constexpr int kBins = 14, kCount = 4;
  Random random{22};
  std::vector<double> sums(3 * (kBins + 1), 0.0);
  for (int i = 0; i < kBins; ++i) {
    const double x = i + random.uniform(0.0, 0.9), w = random.uniform(0.1, 2.0);
    const double add[3] = {w, w * x, w * x * x};
    for (int k = 0; k < 3; ++k) sums[3 * (i + 1) + k] = sums[3 * i + k] + add[k];
  }
  const auto error = [&](int a, int b) {
    return interval_error(sums[3 * b] - sums[3 * a], sums[3 * b + 1] - sums[3 * a + 1],
                          sums[3 * b + 2] - sums[3 * a + 2]);
  };
  double least = INFINITY;
  for (int a = 1; a < kBins; ++a)
    for (int b = a + 1; b < kBins; ++b)
      for (int c = b + 1; c < kBins; ++c)
        least = std::min(least, error(0, a) + error(a, b) + error(b, c) + error(c, kBins));
  std::int32_t starts[kCount + 1];
  codebook_intervals(sums.data(), kBins, kCount, starts);
  double found = 0.0;
  for (int k = 0; k < kCount; ++k) found += error(starts[k], starts[k + 1]);
  report.holds("codebook: intervals cover the bins", starts[0] == 0 && starts[kCount] == kBins);
  report.below("codebook: excess over the best of all cuts", found - least, 1e-12);
}

void check_grid(Report& report) {
  constexpr int kWidth = 20, kHeight = 15, kCount = 290;
  Random random{23};
  std::vector<float> x(kCount * kGridStride, 0.0f), scratch(2 * kWidth * kHeight * kGridStride);
  for (int i = 0; i < kCount; ++i)
    for (int c = 0; c < 2; ++c) x[i * kGridStride + c] = static_cast<float>(random.uniform(-1.0, 1.0));
  std::vector<std::int32_t> cells(kCount);
  std::iota(cells.begin(), cells.end(), 0);
  const auto roughness = [&] {
    double sum = 0.0;
    for (int k = 0; k < kCount; ++k)
      for (int c = 0; c < 2; ++c) {
        const double here = x[cells[k] * kGridStride + c];
        if (k % kWidth != kWidth - 1 && k + 1 < kCount) sum += std::pow(x[cells[k + 1] * kGridStride + c] - here, 2);
        if (k + kWidth < kCount) sum += std::pow(x[cells[k + kWidth] * kGridStride + c] - here, 2);
      }
    return sum;
  };
  const double before = roughness();
  const Grid grid = {x.data(), kCount, kWidth, kHeight};
  for (int radius = 8; radius > 0; --radius)
    grid_order_round(grid, radius, 6, 5u + radius, cells.data(), scratch.data());
  std::vector<int> seen(kCount, 0);
  for (const std::int32_t i : cells) ++seen[i];
  report.holds("grid: every vector lies in one cell",
               std::all_of(seen.begin(), seen.end(), [](int n) { return n == 1; }));
  report.below("grid: roughness over that of a random order", roughness() / before, 0.2);
}

}  // namespace

void check_compress(Report& report) {
  check_kmeans(report);
  check_intervals(report);
  check_grid(report);
}

}  // namespace s3d::selftest
