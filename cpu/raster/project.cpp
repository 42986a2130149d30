// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <bit>

#include "cpu/base/pool.h"
#include "cpu/raster/splat_lanes.h"
#include "cpu/raster/tile_spans.h"

namespace s3d {
namespace {

// The geometry of kLanes splats; returns how many are visible.
int project_lanes(const SplatParameters& p, const View& view, const Pinhole<Lane>& camera, const LaneRows& rows,
                  SplatRecord* records, SplatTiles* tiles) {
  SplatShape<Lane> s;
  load_shape(p, rows, s);
  Footprint<Lane> f;
  project_splat(s, camera, f);
  const Lane opacity = load_opacity(p, rows) * (view.antialias ? f.compensation : Lane(1.0f));
  const Lane log2_o = log2(max(opacity, Lane(1e-30f)));
  const Lane inv_det = Lane(1.0f) / f.det;
  const Lane scale(static_cast<float>(kLog2E));
  // The ellipse in units of log2(alpha), as the records hold it.
  const Lane a2 = Lane(-0.5f) * scale * f.c * inv_det, b2 = scale * f.b * inv_det;
  const Lane c2 = Lane(-0.5f) * scale * f.a * inv_det;
  const Lane k = log2_o - Lane(kLog2AlphaMin);
  const Ellipse<Lane> e =
      ellipse_of_covariance<Lane>(f.px, f.py, f.a, f.b, f.c, f.det, Lane(2.0f * kLn2) * max(k, Lane(1e-20f)));
  const Lane width(static_cast<float>(view.width)), height(static_cast<float>(view.height));

  // Everything later depends on these only, so nothing that is not finite gets further.
  const Mask finite = is_finite(f.px) & is_finite(f.py) & is_finite(a2) & is_finite(b2) & is_finite(c2) &
                      is_finite(log2_o) & is_finite(e.half_width) & is_finite(e.half_height) & is_finite(opacity);
  const Mask visible = finite & (f.z >= Lane(view.near)) & (k > Lane(0.0f)) & (f.det > Lane(0.0f)) &
                       (f.px + e.half_width > Lane(0.0f)) & (f.px - e.half_width < width) &
                       (f.py + e.half_height > Lane(0.0f)) & (f.py - e.half_height < height);
  const std::uint32_t mask = bits(visible) & ((1u << rows.count) - 1u);
  if (mask == 0) return 0;

  const Lane inv(1.0f / kTilePx);
  const Lane row_first = max(f.py - e.half_height, Lane(0.0f)) * inv;
  const Lane row_last = min(f.py + e.half_height, height) * inv;
  SplatRecord* record = records;
  SplatTiles* tile = tiles;
  int most_rows = 0;
  int lane_of[kLanes];
  for (std::uint32_t rest = mask; rest != 0; rest &= rest - 1) {
    const int i = std::countr_zero(rest);
    record->x = f.px[i];
    record->y = f.py[i];
    record->a2 = a2[i];
    record->b2 = b2[i];
    record->c2 = c2[i];
    record->log2_o = log2_o[i];
    record->slope = e.slope[i];
    record->rest = e.rest[i];
    record->reach = e.reach[i];
    record->z = f.z[i];
    record->splat = static_cast<std::uint32_t>(rows.row[i]);
    tile->radius = e.half_width[i] > e.half_height[i] ? e.half_width[i] : e.half_height[i];
    tile->y0 = static_cast<std::uint16_t>(row_first[i]);
    const int row_end = std::min(view.tiles_y(), static_cast<int>(row_last[i]) + 1);
    tile->rows = static_cast<std::uint16_t>(row_end - tile->y0);
    most_rows = std::max<int>(most_rows, tile->rows);
    lane_of[record - records] = i;
    ++record;
    ++tile;
  }
  const int count = static_cast<int>(record - records);
  Lane first_row;
  for (int i = 0; i < kLanes; ++i) first_row.v[i] = 0.0f;
  for (int n = 0; n < count; ++n) first_row.v[lane_of[n]] = static_cast<float>(tiles[n].y0);
  const Lane tiles_x(static_cast<float>(view.tiles_x()));
  for (int j = 0; j < std::min(most_rows, kSpansKept); ++j) {
    Lane first, last;
    tile_span(e, first_row + Lane(static_cast<float>(j)), tiles_x, first, last);
    for (int n = 0; n < count; ++n) {
      const int x0 = static_cast<int>(first[lane_of[n]]), x1 = static_cast<int>(last[lane_of[n]]);
      tiles[n].span[2 * j] = static_cast<std::uint16_t>(x0);
      tiles[n].span[2 * j + 1] = static_cast<std::uint16_t>(std::max(x0, x1));
    }
  }
  for (int n = 0; n < count; ++n) {
    std::uint32_t pairs = 0;
    if (tiles[n].rows <= kSpansKept) {
      for (int j = 0; j < tiles[n].rows; ++j) pairs += tiles[n].span[2 * j + 1] - tiles[n].span[2 * j];
    } else {
      for_tiles(records[n], tiles[n], view, [&](int) { ++pairs; });
    }
    records[n].num_pairs = pairs;
  }
  return count;
}

// Returns how many records are left: one whose colour is not finite is dropped with its tiles, the others close up.
int shade_records(const SplatParameters& p, const View& view, const Pinhole<Lane>& camera, SplatRecord* records,
                  SplatTiles* tiles, int count) {
  int kept = 0;
  Lane basis[(kMaxShDegree + 1) * (kMaxShDegree + 1)];
  for (int first = 0; first < count; first += kLanes) {
    LaneRows rows;
    rows.count = std::min(kLanes, count - first);
    for (int i = 0; i < kLanes; ++i) rows.row[i] = records[first + std::min(i, rows.count - 1)].splat;
    SplatShape<Lane> s;
    load_rows<3>(p.means, 3, rows, s.mean);
    Lane dir[3], length, rgb[3];
    view_direction(s, camera, dir, length);
    shade(p, view.sh_degree, rows, dir, basis, rgb);
    const std::uint32_t finite = bits(is_finite(rgb[0]) & is_finite(rgb[1]) & is_finite(rgb[2]));
    for (int c = 0; c < 3; ++c) rgb[c] = max(rgb[c], Lane(0.0f));
    for (int i = 0; i < rows.count; ++i) {
      if ((finite >> i & 1u) == 0) continue;
      SplatRecord& record = records[kept];
      if (kept != first + i) {
        record = records[first + i];
        tiles[kept] = tiles[first + i];
      }
      ++kept;
      record.red = rgb[0][i];
      record.green = rgb[1][i];
      record.blue = rgb[2][i];
    }
  }
  return kept;
}

}  // namespace

std::int64_t project(const SplatParameters& p, const View& view, const ProjectBuffers& out) {
  const int blocks = num_blocks(p.count);
  for_blocks(blocks, [&](int block) {
    const Pinhole<Lane> camera = broadcast(view.camera);
    const std::int64_t begin = static_cast<std::int64_t>(block) * kBlockSplats;
    const std::int64_t end = std::min(p.count, begin + kBlockSplats);
    SplatRecord* records = out.records + begin;
    int visible = 0;
    for (std::int64_t first = begin; first < end; first += kLanes)
      visible += project_lanes(p, view, camera, LaneRows::contiguous(first, end), records + visible,
                               out.tiles + begin + visible);
    visible = shade_records(p, view, camera, records, out.tiles + begin, visible);
    std::uint32_t slots = 0;
    for (int i = 0; i < visible; ++i) {
      records[i].first_slot = slots;
      slots += records[i].num_pairs;
    }
    out.block_visible[block] = visible;
    out.block_slots[block] = slots;
  });
  std::int64_t visible = 0;
  std::uint64_t slots = 0;
  for (int block = 0; block < blocks; ++block) {
    visible += out.block_visible[block];
    const std::uint32_t mine = out.block_slots[block];
    out.block_slots[block] = static_cast<std::uint32_t>(slots);
    slots += mine;
  }
  if (slots > kPairsMax) return -1;
  out.block_slots[blocks] = static_cast<std::uint32_t>(slots);
  return visible;
}

}  // namespace s3d
