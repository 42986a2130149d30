// SPDX-License-Identifier: Apache-2.0
// One 16x16 tile held in segments of kLanes pixels, and which of them a splat's ellipse touches.
#pragma once

#include <algorithm>

#include "cpu/raster.h"

namespace s3d {

// Segment `column * 16 + row` starts at pixel (column * kLanes, row) of the tile.
struct Tile {
  int x0, y0;          // Of its top-left pixel in the image.
  int columns, rows;   // Pixels inside the image.

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

// What a splat's quadratic form needs in each row of the tile: dy, b2 dy, and c2 dy^2 + log2(opacity).
struct alignas(64) RowTerms {
  float dy[kTilePx], linear[kTilePx], constant[kTilePx];
};

// y: the splat's mean from the tile's top edge.
S3D_HD void fill_row_terms(const SplatRecord& r, float y, RowTerms& terms) {
  for (int first = 0; first < kTilePx; first += kLanes) {
    const Lane dy = Lane::load(kRowCentres + first) - Lane(y);
    dy.store(terms.dy + first);
    (Lane(r.b2) * dy).store(terms.linear + first);
    (Lane(r.c2) * dy * dy + Lane(r.log2_o)).store(terms.constant + first);
  }
}

// The segments that hold a pixel centre inside the ellipse, conservatively by a hundredth of a pixel.
// x, y: the splat's mean from the tile's corner.
S3D_HD SegmentMask touched_segments(const SplatRecord& r, float x, float y) {
  const float inv_a = -1.0f / r.a2;  // a2 < 0.
  const Lane slope(0.5f * r.b2 * inv_a);
  const Lane rest((r.c2 - 0.25f * r.b2 * r.b2 / r.a2) * inv_a);  // Negative.
  const Lane reach((r.log2_o - static_cast<float>(kLog2AlphaMin)) * inv_a);
  SegmentMask mask = 0;
  for (int first = 0; first < kTilePx; first += kLanes) {
    const Lane dy = Lane::load(kRowCentres + first) - Lane(y);
    const Lane square = rest * dy * dy + reach;
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
