// SPDX-License-Identifier: Apache-2.0
// The kernels' self-test without Python, for cross-compiled builds and sanitizers: what every check reports to.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>

namespace s3d::selftest {

// Counts checks and prints one line for each. A NaN fails every check.
struct Report {
  int passed = 0, failed = 0;

  void holds(const char* name, bool good) {
    std::printf("%s  %s\n", good ? "ok    " : "FAILED", name);
    ++(good ? passed : failed);
  }
  void below(const char* name, double error, double limit) {
    const bool good = error <= limit;
    std::printf("%s  %s: %.2e (limit %.0e)\n", good ? "ok    " : "FAILED", name, error, limit);
    ++(good ? passed : failed);
  }
};

// Numbers that are the same everywhere (Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators").
struct Random {
  std::uint64_t state;

  double uniform(double low = 0.0, double high = 1.0) {
    std::uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return low + (high - low) * static_cast<double>((z ^ (z >> 31)) >> 11) * 0x1p-53;
  }
};

// Largest difference between `gradient` and central differences of loss() in x[0..n-1], relative to the largest entry.
template <class Loss>
double gradient_error(Loss&& loss, double* x, const double* gradient, int n) {
  double error = 0.0, largest = 0.0;
  for (int i = 0; i < n; ++i) {
    const double before = x[i], h = 1e-6 * std::max(1.0, std::fabs(before));
    x[i] = before + h;
    const double above = loss();
    x[i] = before - h;
    const double difference = (above - loss()) / (2.0 * h);
    x[i] = before;
    error = std::max(error, std::fabs(difference - gradient[i]));
    largest = std::max(largest, std::fabs(difference));
    if (!std::isfinite(gradient[i])) error = INFINITY;
  }
  return largest > 0.0 ? error / largest : INFINITY;
}

void check_pool(Report& report);
void check_formulas(Report& report);
void check_lanes(Report& report);
void check_rasterizer(Report& report);
void check_photometric(Report& report);
void check_mvs(Report& report);
void check_compress(Report& report);

}  // namespace s3d::selftest
