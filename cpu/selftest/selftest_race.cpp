// SPDX-License-Identifier: Apache-2.0
// The pool's checks as a program of their own, which a thread sanitizer builds and runs in seconds.
#include "cpu/selftest/selftest.h"

int main() {
  s3d::selftest::Report report;
  s3d::selftest::check_pool(report);
  std::printf("%d passed, %d failed\n", report.passed, report.failed);
  return report.failed == 0 && report.passed > 0 ? 0 : 1;
}
