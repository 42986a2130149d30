// SPDX-License-Identifier: Apache-2.0
// One 16x16 tile held in segments of kLanes pixels, and which of them a splat's ellipse touches.
#pragma once

#include <algorithm>
#include <bit>
#include <cstring>
#include <type_traits>

#include "cpu/raster/raster.h"
#include "math/blend.h"
#include "math/bundle.h"

namespace s3d {

// Segment `column * 16 + row` starts at pixel (column * kLanes, row) of the tile.
struct Tile {
  int x0, y0;         // Of its top-left pixel in the image.
  int columns, rows;  // Pixels inside the image.

  Tile(const View& view, int tile)
      : x0(tile % view.tiles_x() * kTilePx),
        y0(tile / view.tiles_x() * kTilePx),
        columns(std::min(kTilePx, view.width - x0)),
        rows(std::min(kTilePx, view.height - y0)) {}

  // Segments with at least one pixel inside the image.
  SegmentMask inside() const {
    const SegmentMask column = (SegmentMask{1} << rows) - 1;
    SegmentMask out = 0;
    for (int c = 0; c * kLanes < columns; ++c) out |= column << (16 * c);
    return out;
  }
};

alignas(64) inline constexpr float kRowCentres[16] = {0.5f, 1.5f, 2.5f,  3.5f,  4.5f,  5.5f,  6.5f,  7.5f,
                                                      8.5f, 9.5f, 10.5f, 11.5f, 12.5f, 13.5f, 14.5f, 15.5f};

// A splat's dy in each row of the tile, and one row more for the idle one.
struct alignas(64) RowOffsets {
  float dy[kTilePx + kLanes];
  RowOffsets() { std::memset(this, 0, sizeof(*this)); }
};

// How a splat's rows are walked: two groups of lanes at a time (math/bundle.h), either both halves of one row (where a
// row is two groups and the splat touches both), or two rows of one column. A column has an idle row below it, whose
// pixels are finished, so that an odd last row needs no case of its own.
inline constexpr int kColumnRows = kTilePx + 1;
enum class Walk { kRows, kHalves };

template <Walk kWalk>
struct Place {
  // Lane group k of a turn that starts at (column, row).
  static constexpr int kStep = kWalk == Walk::kRows ? 2 : 1;
  S3D_HD static int segment(int column, int row, int k) {
    return kWalk == Walk::kRows ? column * kColumnRows + row + k : k * kColumnRows + row;
  }
  S3D_HD static Bundle<2> per_row(const float* values, int row) {
    Bundle<2> out;
    for (int k = 0; k < 2; ++k) out.v[k] = Lane(values[kWalk == Walk::kRows ? row + k : row]);
    return out;
  }
  // x: the splat's mean from the tile's left edge.
  S3D_HD static Bundle<2> dx(int column, float x) {
    Bundle<2> out;
    for (int k = 0; k < 2; ++k)
      out.v[k] = Lane::load(kRowCentres) + Lane(static_cast<float>((kWalk == Walk::kRows ? column : k) * kLanes) - x);
    return out;
  }
};

// One float for every pixel of a tile and of the idle rows, `kFields` of them side by side for each segment: what a
// segment needs is close together, and no two fields are a multiple of 4 KB apart.
template <int kFields>
struct alignas(64) SegmentFields {
  float data[kColumns * kColumnRows * kFields * kLanes];

  S3D_HD float* at(int segment, int field) { return data + (segment * kFields + field) * kLanes; }
  template <Walk kWalk>
  S3D_HD Bundle<2> load(int column, int row, int field) {
    Bundle<2> out;
    for (int k = 0; k < 2; ++k) out.v[k] = Lane::load(at(Place<kWalk>::segment(column, row, k), field));
    return out;
  }
  template <Walk kWalk>
  S3D_HD void store(int column, int row, int field, const Bundle<2>& value) {
    for (int k = 0; k < 2; ++k) value.v[k].store(at(Place<kWalk>::segment(column, row, k), field));
  }
  void clear() { std::memset(data, 0, sizeof(data)); }
};

// Calls f(segment, index in the image of its first pixel, number of its pixels) for every segment with pixels inside.
template <class F>
S3D_HD void for_segments(const View& view, const Tile& tile, F&& f) {
  for (int column = 0; column * kLanes < tile.columns; ++column) {
    const int pixels = std::min(kLanes, tile.columns - column * kLanes);
    for (int row = 0; row < tile.rows; ++row) {
      const std::size_t line = static_cast<std::size_t>(tile.y0 + row) * view.width;
      f(column * kColumnRows + row, line + tile.x0 + column * kLanes, pixels);
    }
  }
}

// Calls f(walk, column, first row, last row) for each walk that covers the segments of `mask`.
template <class F>
S3D_HD void for_walks(SegmentMask mask, F&& f) {
  if constexpr (kColumns == 2) {
    const auto left = static_cast<std::uint32_t>(mask & 0xffffu), right = static_cast<std::uint32_t>(mask >> 16);
    if (left != 0 && right != 0) {
      const std::uint32_t rows = left | right;
      f(std::integral_constant<Walk, Walk::kHalves>{}, 0, std::countr_zero(rows), 31 - std::countl_zero(rows));
      return;
    }
  }
  for (int column = 0; column < kColumns; ++column) {
    const std::uint32_t rows = static_cast<std::uint32_t>(mask >> (16 * column)) & 0xffffu;
    if (rows != 0)
      f(std::integral_constant<Walk, Walk::kRows>{}, column, std::countr_zero(rows), 31 - std::countl_zero(rows));
  }
}

// Runs need every power of two on the way to stay far from the ends of single precision.
inline constexpr float kRunPowerMax = 64.0f;
// Alpha is 0 long before this power of two, the lowest that exp2 of lanes takes.
inline constexpr float kPowerMin = -126.0f;

// A walk: f(row, alphas) for every turn. Wide splats take runs of products, which cost a third of an exponential a
// pixel and are off by 2e-6 of alpha (root mean square after 16 turns; 3e-5 at most); narrow ones, whose powers would
// underflow across a tile, take the exponential.
template <class P, class F>
S3D_HD void walk_alphas(const SplatRecord& r, const RowOffsets& rows, const Bundle<2>& dx, int first, int last, F&& f) {
  const Bundle<2> a2(r.a2), b2(r.b2), c2(r.c2), log2_o(r.log2_o);
  const auto power = [&](int row) S3D_INLINE { return log2_alpha(a2, b2, c2, log2_o, dx, P::per_row(rows.dy, row)); };
  const auto larger = [](float a, float b) { return a > b ? a : b; };
  const float dx_max = larger(abs(dx.v[0][0]), abs(dx.v[1][kLanes - 1]));
  const float dy_max = larger(abs(rows.dy[first]), abs(rows.dy[last]));
  const float power_max = abs(r.a2) * dx_max * dx_max + abs(r.b2) * dx_max * dy_max + abs(r.c2) * dy_max * dy_max;
  if (power_max > kRunPowerMax) {
    // Far from a needle the power lies below what exp2 takes.
    const Bundle<2> lowest(kPowerMin);
    for (int row = first; row <= last; row += P::kStep) f(row, splat_alpha(exp2(max(power(row), lowest))));
    return;
  }
  const Bundle<2> step(static_cast<float>(P::kStep));
  const Bundle<2> curvature(run_curvature(Lane(r.c2), Lane(static_cast<float>(P::kStep))));
  GaussianRun<Bundle<2>> run = gaussian_run(power(first), b2, c2, dx, P::per_row(rows.dy, first), step, curvature);
  for (int row = first; row <= last; row += P::kStep) {
    f(row, splat_alpha(run.value));
    advance(run);
  }
}

// y: the splat's mean from the tile's top edge.
S3D_HD void fill_row_offsets(float y, RowOffsets& rows) {
  for (int first = 0; first < kTilePx; first += kLanes)
    (Lane::load(kRowCentres + first) - Lane(y)).store(rows.dy + first);
}

// The segments that hold a pixel centre inside the ellipse, conservatively by a hundredth of a pixel.
// x, y: the splat's mean from the tile's corner.
S3D_HD SegmentMask touched_segments(const SplatRecord& r, float x, float y) {
  const Lane slope(r.slope), rest(r.rest), reach(r.reach);
  SegmentMask mask = 0;
  for (int first = 0; first < kTilePx; first += kLanes) {
    const Lane dy = Lane::load(kRowCentres + first) - Lane(y);
    const Lane square = reach - rest * dy * dy;
    const Lane half = sqrt(max(square, Lane(0.0f))) + Lane(0.01f);
    const Lane middle = Lane(x) + slope * dy;
    const Lane left = middle - half, right = middle + half;
    const Mask hit = square >= Lane(-0.01f);
    for (int c = 0; c < kColumns; ++c) {
      const Lane first_centre(static_cast<float>(c * kLanes) + 0.5f);
      const Lane last_centre(static_cast<float>((c + 1) * kLanes) - 0.5f);
      const Mask touched = hit & (left <= last_centre) & (right >= first_centre);
      mask |= static_cast<SegmentMask>(bits(touched)) << (16 * c + first);
    }
  }
  return mask;
}

}  // namespace s3d
