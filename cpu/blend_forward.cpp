// SPDX-License-Identifier: Apache-2.0
#include <bit>
#include <cstring>

#include "cpu/pool.h"
#include "cpu/tile.h"
#include "math/blend.h"

namespace s3d {
namespace {

// Segments whose pixels are all finished are looked for once in so many pairs.
constexpr int kPairsPerAliveCheck = 16;

struct alignas(64) TileState {
  float t[kTilePixels], red[kTilePixels], green[kTilePixels], blue[kTilePixels];
};

struct alignas(64) TileDepth {
  float expected[kTilePixels], median[kTilePixels];
};

// Pixel offset in TileState of a segment.
S3D_HD int offset(int segment) { return segment * kLanes; }

SegmentMask still_alive(const TileState& state, SegmentMask alive) {
  SegmentMask out = 0;
  for (SegmentMask rest = alive; rest != 0; rest &= rest - 1) {
    const int segment = std::countr_zero(rest);
    const Lane t = Lane::load(state.t + offset(segment));
    if (bits(t > Lane(0.0f)) != 0) out |= SegmentMask{1} << segment;
  }
  return out;
}

template <bool kDepth, bool kWeights, bool kCount>
void blend_tile(const View& view, const BlendBuffers& b, int index) {
  const Tile tile(view, index);
  TileState state;
  TileDepth depth;
  std::memset(&state, 0, sizeof(state));
  if constexpr (kDepth) std::memset(&depth, 0, sizeof(depth));
  for (int segment = 0; segment < kColumns * kTilePx; ++segment)
    for (int i = 0; i < kLanes; ++i) {
      const int column = (segment / kTilePx) * kLanes + i, row = segment % kTilePx;
      state.t[offset(segment) + i] = column < tile.columns && row < tile.rows ? 1.0f : -1.0f;
    }
  SegmentMask alive = tile.inside();
  std::uint64_t covered = 0, blended = 0;

  const std::uint32_t begin = b.tile_start[index], end = b.tile_start[index + 1];
  std::uint32_t used = end - begin;
  RowTerms terms;
  for (std::uint32_t i = begin; i < end; ++i) {
    if (((i - begin) % kPairsPerAliveCheck) == kPairsPerAliveCheck - 1 && !kCount) {
      alive = still_alive(state, alive);
      if (alive == 0) {
        used = i - begin;
        break;
      }
    }
    const SplatRecord& r = b.records[b.pairs[i].record];
    const float x = r.x - static_cast<float>(tile.x0), y = r.y - static_cast<float>(tile.y0);
    const SegmentMask mask = touched_segments(r, x, y) & alive;
    b.masks[i] = mask;
    if (mask != 0) fill_row_terms(r, y, terms);
    Lane weight_sum(0.0f), weight_max(0.0f);
    const Lane red(r.red), green(r.green), blue(r.blue), z(r.z);
    for (int column = 0; column < kColumns; ++column) {
      std::uint32_t rows = static_cast<std::uint32_t>(mask >> (16 * column)) & 0xffffu;
      if (rows == 0) continue;
      const Lane dx = Lane::load(kRowCentres) + Lane(static_cast<float>(column * kLanes) - x);
      const Lane quadratic = Lane(r.a2) * dx;
      for (; rows != 0; rows &= rows - 1) {
        const int row = std::countr_zero(rows);
        const int at = offset(16 * column + row);
        const Lane p = (quadratic + Lane(terms.linear[row])) * dx + Lane(terms.constant[row]);
        const Lane t = Lane::load(state.t + at);
        const Blended<Lane> out = blend(p, t);
        out.next_t.store(state.t + at);
        (Lane::load(state.red + at) + out.weight * red).store(state.red + at);
        (Lane::load(state.green + at) + out.weight * green).store(state.green + at);
        (Lane::load(state.blue + at) + out.weight * blue).store(state.blue + at);
        if constexpr (kDepth) {
          (Lane::load(depth.expected + at) + out.weight * z).store(depth.expected + at);
          const Mask crosses = (t > Lane(0.5f)) & (out.next_t <= Lane(0.5f)) & (out.next_t > Lane(0.0f));
          select(crosses, z, Lane::load(depth.median + at)).store(depth.median + at);
        }
        if constexpr (kWeights) {
          weight_sum += out.weight;
          weight_max = max(weight_max, out.weight);
        }
        if constexpr (kCount) {
          // Pixels outside the image hold exactly -1.
          covered += std::popcount(bits((p >= Lane(kLog2AlphaMin)) & (t > Lane(-1.0f))));
          blended += std::popcount(bits(out.weight > Lane(0.0f)));
        }
      }
    }
    if constexpr (kWeights) {
      float* pair = b.pair_weights + 2 * static_cast<std::size_t>(b.pairs[i].slot);
      pair[0] = horizontal_sum(weight_sum);
      float lanes[kLanes];
      weight_max.store(lanes);
      pair[1] = *std::max_element(lanes, lanes + kLanes);
    }
  }
  if constexpr (kWeights)
    for (std::uint32_t i = begin + used; i < end; ++i)
      std::memset(b.pair_weights + 2 * static_cast<std::size_t>(b.pairs[i].slot), 0, 2 * sizeof(float));
  b.tile_used[index] = used;
  if constexpr (kCount) {
    b.counts[2 * index] = covered;
    b.counts[2 * index + 1] = blended;
  }

  for (int row = 0; row < tile.rows; ++row) {
    const std::size_t line = static_cast<std::size_t>(tile.y0 + row) * view.width + tile.x0;
    for (int x = 0; x < tile.columns; ++x) {
      const int at = offset(16 * (x / kLanes) + row) + x % kLanes;
      const float t = state.t[at] < 0.0f ? -state.t[at] : state.t[at];
      float* pixel = b.image + 3 * (line + x);
      pixel[0] = state.red[at] + t * b.background[0];
      pixel[1] = state.green[at] + t * b.background[1];
      pixel[2] = state.blue[at] + t * b.background[2];
      b.transmittance[line + x] = t;
      if constexpr (kDepth) {
        b.depth[line + x] = depth.expected[at];
        b.median_depth[line + x] = depth.median[at];
      }
    }
  }
}

}  // namespace

void blend_forward(const View& view, const BlendBuffers& b) {
  const bool depth = b.depth != nullptr, weights = b.pair_weights != nullptr, count = b.counts != nullptr;
  auto* tile = &blend_tile<false, false, false>;
  if (count) tile = &blend_tile<false, false, true>;
  else if (depth && weights) tile = &blend_tile<true, true, false>;
  else if (depth) tile = &blend_tile<true, false, false>;
  else if (weights) tile = &blend_tile<false, true, false>;
  for_blocks(view.num_tiles(), [&](int index) { tile(view, b, index); });
}

}  // namespace s3d
