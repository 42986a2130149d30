// SPDX-License-Identifier: Apache-2.0
// Sorting vectors on a 2-D grid so that neighbours are alike, by parallel linear assignment (PLAS; Morgenstern et al.
// 2024, "Compact 3D scene representation via self-organizing Gaussian grids"). The caller owns every buffer.
#pragma once

#include <cstdint>

namespace s3d {

// Features of one cell, padded with zeros.
inline constexpr int kGridStride = 16;

struct Grid {
  const float* features;  // [count, kGridStride]
  std::int64_t count;     // Cells in use, row by row; the rest of the grid stays empty.
  int width, height;
};

// One round at one radius. The target is the grid after a box filter of that radius, twice; then `sweeps` times the
// grid is cut into blocks of about the radius, shifted at random, the cells of a block are taken four at a time in
// random order, and each four goes to the arrangement with the least squared difference to the target.
// cells [count]: which vector lies where, changed in place; scratch [2, width * height, kGridStride]. Returns the
// number of vectors that moved. The same bits for any number of threads.
std::int64_t grid_order_round(const Grid& grid, int radius, int sweeps, std::uint32_t seed, std::int32_t* cells,
                              float* scratch);

}  // namespace s3d
