// SPDX-License-Identifier: Apache-2.0
// Numbers that every back end must agree on; the reasons stand in sparse3d/conventions.py, whose values a test
// compares with these.
#pragma once

namespace s3d {

inline constexpr int kTilePx = 16;
inline constexpr double kLowPassPx2 = 0.3;
inline constexpr double kAlphaMin = 1.0 / 255.0;
inline constexpr double kAlphaMax = 0.99;
inline constexpr double kTransmittanceStop = 1e-4;
inline constexpr double kFovClamp = 1.3;
inline constexpr double kNearPlane = 0.01;
inline constexpr int kMaxShDegree = 4;
inline constexpr double kShC0 = 0.28209479177387814;

// log2(1 / 255): blending works on log2(alpha), where a product with the opacity is a sum.
inline constexpr double kLog2AlphaMin = -7.994353436858858;
inline constexpr double kLog2E = 1.4426950408889634;
inline constexpr double kLn2 = 0.6931471805599453;
// Below this share of its area lost to the low-pass filter, a splat's compensation is flat (its gradient would be
// infinite).
inline constexpr double kCompensationFloor = 1e-12;

}  // namespace s3d
