// SPDX-License-Identifier: Apache-2.0
#include "cpu/selftest/selftest.h"

#include "math/lane.h"

int main() {
  using namespace s3d::selftest;
  std::printf("self-test of the kernels for %s, %d lanes\n", S3D_SIMD_LEVEL, s3d::kLanes);
  Report report;
  check_pool(report);
  check_formulas(report);
  check_lanes(report);
  check_rasterizer(report);
  check_photometric(report);
  check_mvs(report);
  check_compress(report);
  std::printf("%d passed, %d failed\n", report.passed, report.failed);
  return report.failed == 0 && report.passed > 0 ? 0 : 1;
}
