// SPDX-License-Identifier: Apache-2.0
// From visible splats to each tile's front-to-back list: one radix sort of the splats by depth, then a counting sort
// of the pairs by tile, which keeps the depth order.
#include <algorithm>
#include <bit>
#include <cstring>

#include "cpu/base/pool.h"
#include "cpu/raster/tile_spans.h"

namespace s3d {
void sort_by_depth(const ProjectBuffers& projected, std::int64_t count, std::int64_t visible, std::uint32_t* order,
                   std::uint32_t* scratch) {
  constexpr int kBits = 11, kBuckets = 1 << kBits, kPasses = 3;
  std::uint32_t* key_in = scratch + visible;
  std::uint32_t* key_out = scratch + 2 * visible;
  std::uint32_t histogram[kPasses][kBuckets];
  std::memset(histogram, 0, sizeof(histogram));
  std::int64_t n = 0;
  for (int block = 0; block < num_blocks(count); ++block) {
    const std::int64_t first = static_cast<std::int64_t>(block) * kBlockSplats;
    for (int i = 0; i < projected.block_visible[block]; ++i) {
      // z >= near > 0, so its bits order as it does.
      const auto key = std::bit_cast<std::uint32_t>(projected.records[first + i].z);
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

void bin(const ProjectBuffers& projected, const std::uint32_t* order, std::int64_t visible, const View& view,
         std::uint32_t* histogram, std::uint32_t* tile_start, Pair* pairs) {
  const int blocks = num_blocks(visible), tiles = view.num_tiles();
  const auto for_block = [&](int block, auto&& f) {
    const std::int64_t end = std::min(visible, (block + 1) * static_cast<std::int64_t>(kBlockSplats));
    for (std::int64_t i = block * static_cast<std::int64_t>(kBlockSplats); i < end; ++i) {
      // The order is random in memory: ask for what comes a few turns later.
      const std::uint32_t ahead = order[std::min(i + 8, visible - 1)];
      __builtin_prefetch(&projected.tiles[ahead]);
      __builtin_prefetch(&projected.records[ahead].splat);
      f(order[i]);
    }
  };
  for_blocks(blocks, [&](int block) {
    std::uint32_t* mine = histogram + static_cast<std::size_t>(block) * tiles;
    std::memset(mine, 0, static_cast<std::size_t>(tiles) * sizeof(std::uint32_t));
    for_block(block, [&](std::uint32_t record) {
      for_tiles(projected.records[record], projected.tiles[record], view, [&](int tile) { ++mine[tile]; });
    });
  });
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
    for_block(block, [&](std::uint32_t record) {
      const SplatRecord& r = projected.records[record];
      std::uint32_t slot = projected.block_slots[record / kBlockSplats] + r.first_slot;
      for_tiles(r, projected.tiles[record], view, [&](int tile) { pairs[next[tile]++] = Pair{record, slot++}; });
    });
  });
}

}  // namespace s3d
