// SPDX-License-Identifier: Apache-2.0
// From visible splats to each tile's front-to-back list: one radix sort of the splats by depth, then a counting sort
// of the pairs by tile, which keeps the depth order.
#include <algorithm>
#include <bit>
#include <cstring>

#include "cpu/pool.h"
#include "cpu/raster.h"
#include "math/ellipse.h"

namespace s3d {
namespace {

// Calls f(tile) for every tile with a pixel centre's row and column range touching the ellipse, row by row.
template <class F>
inline void for_tiles(const SplatRecord& r, const View& view, F&& f) {
  const float k = r.log2_o - static_cast<float>(kLog2AlphaMin);
  const Ellipse<float> e = make_ellipse<float>(r.x, r.y, -r.a2, -0.5f * r.b2, -r.c2, k);
  const int tiles_x = view.tiles_x();
  for (int ty = r.tile_y0; ty < r.tile_y1; ++ty) {
    float left, right;
    const float y0 = static_cast<float>(ty * kTilePx) + 0.5f;
    ellipse_band<float>(e, y0, y0 + (kTilePx - 1), left, right);
    // A tile's centres span [16 t + 0.5, 16 t + 15.5]; a hair of slack covers rounding.
    const int x0 = std::max<int>(r.tile_x0, static_cast<int>(std::max(0.0f, (left - (kTilePx - 0.5f) - 0.01f) * (1.0f / kTilePx) + 1.0f)));
    const int x1 = std::min<int>(r.tile_x1, right < 0.0f ? 0 : static_cast<int>(std::min((right - 0.5f + 0.01f) * (1.0f / kTilePx) + 1.0f, 65535.0f)));
    for (int tx = x0; tx < x1; ++tx) f(ty * tiles_x + tx);
  }
}

}  // namespace

void sort_by_depth(const SplatRecord* records, const std::int32_t* block_visible, std::int64_t count,
                   std::int64_t visible, std::uint32_t* order, std::uint32_t* scratch, std::uint32_t* keys) {
  constexpr int kBits = 11, kBuckets = 1 << kBits, kPasses = 3;
  std::uint32_t* key_in = keys;
  std::uint32_t* key_out = keys + visible;
  std::uint32_t histogram[kPasses][kBuckets];
  std::memset(histogram, 0, sizeof(histogram));
  std::int64_t n = 0;
  for (int block = 0; block < num_blocks(count); ++block) {
    const std::int64_t first = static_cast<std::int64_t>(block) * kBlockSplats;
    for (int i = 0; i < block_visible[block]; ++i) {
      // z >= near > 0, so its bits order as it does.
      const auto key = std::bit_cast<std::uint32_t>(records[first + i].z);
      order[n] = static_cast<std::uint32_t>(first + i);
      key_in[n++] = key;
      for (int pass = 0; pass < kPasses; ++pass) ++histogram[pass][(key >> (pass * kBits)) & (kBuckets - 1)];
    }
  }
  std::uint32_t* from = order;
  std::uint32_t* to = scratch;
  for (int pass = 0; pass < kPasses; ++pass) {
    std::uint32_t sum = 0;
    for (std::uint32_t& bucket : histogram[pass]) {
      const std::uint32_t size = bucket;
      bucket = sum;
      sum += size;
    }
    for (std::int64_t i = 0; i < visible; ++i) {
      const std::uint32_t at = histogram[pass][(key_in[i] >> (pass * kBits)) & (kBuckets - 1)]++;
      key_out[at] = key_in[i];
      to[at] = from[i];
    }
    std::swap(key_in, key_out);
    std::swap(from, to);
  }
  if (from != order) std::memcpy(order, from, static_cast<std::size_t>(visible) * sizeof(std::uint32_t));
}

std::int64_t count_pairs(SplatRecord* records, const std::uint32_t* order, std::int64_t visible, const View& view,
                         std::uint32_t* histogram) {
  const int blocks = num_blocks(visible), tiles = view.num_tiles();
  for_blocks(blocks, [&](int block) {
    std::uint32_t* mine = histogram + static_cast<std::size_t>(block) * tiles;
    std::memset(mine, 0, static_cast<std::size_t>(tiles) * sizeof(std::uint32_t));
    const std::int64_t end = std::min(visible, (block + 1) * static_cast<std::int64_t>(kBlockSplats));
    for (std::int64_t i = block * static_cast<std::int64_t>(kBlockSplats); i < end; ++i) {
      SplatRecord& record = records[order[i]];
      std::uint32_t pairs = 0;
      for_tiles(record, view, [&](int tile) {
        ++mine[tile];
        ++pairs;
      });
      record.num_pairs = pairs;
    }
  });
  std::int64_t total = 0;
  for (std::int64_t i = 0; i < visible; ++i) {
    SplatRecord& record = records[order[i]];
    record.first_slot = static_cast<std::uint32_t>(total);
    total += record.num_pairs;
  }
  return total;
}

void fill_pairs(SplatRecord* records, const std::uint32_t* order, std::int64_t visible, const View& view,
                std::uint32_t* histogram, std::uint32_t* tile_start, Pair* pairs) {
  const int blocks = num_blocks(visible), tiles = view.num_tiles();
  // Each block's count becomes the place of its first pair in the tile's list.
  std::uint32_t sum = 0;
  for (int tile = 0; tile < tiles; ++tile) {
    tile_start[tile] = sum;
    for (int block = 0; block < blocks; ++block) {
      std::uint32_t& entry = histogram[static_cast<std::size_t>(block) * tiles + tile];
      const std::uint32_t size = entry;
      entry = sum;
      sum += size;
    }
  }
  tile_start[tiles] = sum;
  for_blocks(blocks, [&](int block) {
    std::uint32_t* next = histogram + static_cast<std::size_t>(block) * tiles;
    const std::int64_t end = std::min(visible, (block + 1) * static_cast<std::int64_t>(kBlockSplats));
    for (std::int64_t i = block * static_cast<std::int64_t>(kBlockSplats); i < end; ++i) {
      const SplatRecord& record = records[order[i]];
      std::uint32_t slot = record.first_slot;
      for_tiles(record, view, [&](int tile) { pairs[next[tile]++] = Pair{order[i], slot++}; });
    }
  });
}

}  // namespace s3d
