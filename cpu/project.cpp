// SPDX-License-Identifier: Apache-2.0
#include <bit>

#include "cpu/pool.h"
#include "cpu/splat_lanes.h"
#include "math/ellipse.h"

namespace s3d {
namespace {

// The geometry of kLanes splats; returns one bit for each that is visible.
std::uint32_t project_lanes(const SplatParameters& p, const View& view, const Pinhole<Lane>& camera,
                            const LaneRows& rows, SplatRecord* out) {
  SplatShape<Lane> s;
  load_shape(p, rows, s);
  Footprint<Lane> f;
  project_splat(s, camera, f);
  const Lane opacity = load_opacity(p, rows) * (view.antialias ? f.compensation : Lane(1.0f));
  const Lane log2_o = log2(max(opacity, Lane(1e-30f)));
  const Lane inv_det = Lane(1.0f) / f.det;
  const Lane conic_a = f.c * inv_det, conic_b = -f.b * inv_det, conic_c = f.a * inv_det;
  const Lane k = Lane(2.0f * kLn2) * (log2_o - Lane(kLog2AlphaMin));
  const Lane half_w = sqrt(max(k * f.a, Lane(0.0f))), half_h = sqrt(max(k * f.c, Lane(0.0f)));
  const Lane width(static_cast<float>(view.width)), height(static_cast<float>(view.height));

  // Everything later depends on these only, so nothing that is not finite gets further.
  const Mask finite = is_finite(f.px) & is_finite(f.py) & is_finite(conic_a) & is_finite(conic_b) &
                      is_finite(conic_c) & is_finite(log2_o) & is_finite(half_w) & is_finite(half_h) &
                      is_finite(opacity);
  const Mask visible = finite & (f.z >= Lane(view.near)) & (k > Lane(0.0f)) & (f.det > Lane(0.0f)) &
                       (f.px + half_w > Lane(0.0f)) & (f.px - half_w < width) & (f.py + half_h > Lane(0.0f)) &
                       (f.py - half_h < height);
  std::uint32_t mask = bits(visible) & ((1u << rows.count) - 1u);
  if (mask == 0) return 0;

  const Lane scale(static_cast<float>(kLog2E));
  const Lane a2 = Lane(-0.5f) * scale * conic_a, b2 = -scale * conic_b, c2 = Lane(-0.5f) * scale * conic_c;
  const Lane tile_x0 = max(f.px - half_w, Lane(0.0f)), tile_x1 = min(f.px + half_w, width);
  const Lane tile_y0 = max(f.py - half_h, Lane(0.0f)), tile_y1 = min(f.py + half_h, height);
  SplatRecord* record = out;
  for (std::uint32_t rest = mask; rest != 0; rest &= rest - 1) {
    const int i = std::countr_zero(rest);
    record->x = f.px[i];
    record->y = f.py[i];
    record->a2 = a2[i];
    record->b2 = b2[i];
    record->c2 = c2[i];
    record->log2_o = log2_o[i];
    record->z = f.z[i];
    record->splat = static_cast<std::uint32_t>(rows.row[i]);
    record->num_pairs = 0;
    record->first_slot = 0;
    // One tile of slack on the far side: the exact test trims it.
    record->tile_x0 = static_cast<std::uint16_t>(tile_x0[i] * (1.0f / kTilePx));
    record->tile_y0 = static_cast<std::uint16_t>(tile_y0[i] * (1.0f / kTilePx));
    record->tile_x1 = static_cast<std::uint16_t>(std::min(view.tiles_x(), static_cast<int>(tile_x1[i] * (1.0f / kTilePx)) + 1));
    record->tile_y1 = static_cast<std::uint16_t>(std::min(view.tiles_y(), static_cast<int>(tile_y1[i] * (1.0f / kTilePx)) + 1));
    record->radius = half_w[i] > half_h[i] ? half_w[i] : half_h[i];
    ++record;
  }
  return mask;
}

void shade_records(const SplatParameters& p, const View& view, const Pinhole<Lane>& camera, SplatRecord* records,
                   int count) {
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
    for (int c = 0; c < 3; ++c) rgb[c] = max(rgb[c], Lane(0.0f));
    for (int i = 0; i < rows.count; ++i) {
      SplatRecord& record = records[first + i];
      record.red = rgb[0][i];
      record.green = rgb[1][i];
      record.blue = rgb[2][i];
    }
  }
}

}  // namespace

std::int64_t project(const SplatParameters& p, const View& view, SplatRecord* records, std::int32_t* block_visible) {
  const int blocks = num_blocks(p.count);
  for_blocks(blocks, [&](int block) {
    const Pinhole<Lane> camera = broadcast(view.camera);
    const std::int64_t begin = static_cast<std::int64_t>(block) * kBlockSplats;
    const std::int64_t end = std::min(p.count, begin + kBlockSplats);
    SplatRecord* out = records + begin;
    int visible = 0;
    for (std::int64_t first = begin; first < end; first += kLanes) {
      const LaneRows rows = LaneRows::contiguous(first, end);
      visible += std::popcount(project_lanes(p, view, camera, rows, out + visible));
    }
    shade_records(p, view, camera, out, visible);
    block_visible[block] = visible;
  });
  std::int64_t total = 0;
  for (int block = 0; block < blocks; ++block) total += block_visible[block];
  return total;
}

}  // namespace s3d
