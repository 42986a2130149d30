// SPDX-License-Identifier: Apache-2.0
// Which tiles of a row of tiles a splat's ellipse meets, exactly, for lanes of splats or for one.
#pragma once

#include "cpu/raster/raster.h"
#include "math/ellipse.h"

namespace s3d {

// The range of tile columns of tile row ty as floats: first <= t < last after truncation. A tile's pixel centres span
// [16 t + 0.5, 16 t + 15.5]; a hundredth of a pixel of slack covers rounding.
template <class T>
S3D_HD void tile_span(const Ellipse<T>& e, T ty, T tiles_x, T& first, T& last) {
  const T y0 = ty * T(static_cast<float>(kTilePx)) + T(0.5f);
  T left, right;
  ellipse_band(e, y0, y0 + T(kTilePx - 1.0f), left, right);
  const T inv(1.0f / kTilePx);
  first = min(max((left - T(kTilePx - 0.5f + 0.01f)) * inv + T(1.0f), T(0.0f)), tiles_x);
  last = min(max((right - T(0.5f - 0.01f)) * inv + T(1.0f), T(0.0f)), tiles_x);
}

// Calls f(tile) for every tile of a record, row by row.
template <class F>
inline void for_tiles(const SplatRecord& r, const SplatTiles& t, const View& view, F&& f) {
  const int tiles_x = view.tiles_x();
  if (t.rows <= kSpansKept) {
    for (int j = 0; j < t.rows; ++j)
      for (int x = t.span[2 * j]; x < t.span[2 * j + 1]; ++x) f((t.y0 + j) * tiles_x + x);
    return;
  }
  const Ellipse<float> e = make_ellipse<float>(r.x, r.y, r.slope, r.rest, r.reach);
  for (int j = 0; j < t.rows; ++j) {
    float first, last;
    tile_span<float>(e, static_cast<float>(t.y0 + j), static_cast<float>(tiles_x), first, last);
    for (int x = static_cast<int>(first); x < static_cast<int>(last); ++x) f((t.y0 + j) * tiles_x + x);
  }
}

}  // namespace s3d
