// SPDX-License-Identifier: Apache-2.0
#include <bit>
#include <cstring>

#include "cpu/base/pool.h"
#include "cpu/raster/tile.h"
#include "math/blend.h"

namespace s3d {
namespace {

// So many pairs have their segments found before they are blended, one after another: a branch on a mask that has
// just been worked out would wait for it. Segments whose pixels are all finished are looked for as often.
constexpr std::uint32_t kPairsPerTurn = 16;
constexpr std::uint32_t kPairsAhead = 6;

enum Field { kT, kRed, kGreen, kBlue, kExpected, kMedian };

template <int kFields>
SegmentMask still_alive(SegmentFields<kFields>& state, SegmentMask alive) {
  SegmentMask out = 0;
  for (SegmentMask rest = alive; rest != 0; rest &= rest - 1) {
    const int bit = std::countr_zero(rest);
    const int segment = (bit / kTilePx) * kColumnRows + bit % kTilePx;
    if (bits(Lane::load(state.at(segment, kT)) > Lane(0.0f)) != 0) out |= SegmentMask{1} << bit;
  }
  return out;
}

// Fills the masks of the pairs begin .. end - 1.
void touch_segments(const BlendBuffers& b, const Tile& tile, std::uint32_t begin, std::uint32_t end, std::uint32_t last,
                    SegmentMask alive) {
  for (std::uint32_t i = begin; i < end; ++i) {
    // Records lie at random in memory.
    __builtin_prefetch(&b.records[b.pairs[std::min(i + kPairsAhead, last - 1)].record]);
    const SplatRecord& r = b.records[b.pairs[i].record];
    const float x = r.x - static_cast<float>(tile.x0), y = r.y - static_cast<float>(tile.y0);
    b.masks[i] = touched_segments(r, x, y) & alive;
  }
}

template <bool kDepth, bool kWeights, bool kCount>
void blend_tile(const View& view, const BlendBuffers& b, int index) {
  const Tile tile(view, index);
  SegmentFields<kDepth ? 6 : 4> state;
  state.clear();
  for (int segment = 0; segment < kColumns * kColumnRows; ++segment) Lane(-1.0f).store(state.at(segment, kT));
  for_segments(view, tile, [&](int segment, std::size_t, int pixels) {
    for (int i = 0; i < pixels; ++i) state.at(segment, kT)[i] = 1.0f;
  });
  SegmentMask alive = tile.inside();
  std::uint64_t covered = 0, blended = 0;

  const std::uint32_t begin = b.tile_start[index], end = b.tile_start[index + 1];
  std::uint32_t used = end - begin;
  RowOffsets offsets;
  for (std::uint32_t i = begin; i < end; ++i) {
    if ((i - begin) % kPairsPerTurn == 0) {
      if (i > begin && !kCount) alive = still_alive(state, alive);
      if (alive == 0) {
        used = i - begin;
        break;
      }
      touch_segments(b, tile, i, std::min(end, i + kPairsPerTurn), end, alive);
    }
    const SegmentMask mask = b.masks[i];
    const SplatRecord& r = b.records[b.pairs[i].record];
    const float x = r.x - static_cast<float>(tile.x0), y = r.y - static_cast<float>(tile.y0);
    if (mask != 0) fill_row_offsets(y, offsets);
    Lane weight_sum(0.0f), weight_max(0.0f);
    const Bundle<2> red(r.red), green(r.green), blue(r.blue), z(r.z);
    for_walks(mask, [&](auto walk, int column, int first, int last) S3D_INLINE {
      using P = Place<decltype(walk)::value>;
      constexpr Walk kWalk = decltype(walk)::value;
      const Bundle<2> dx = P::dx(column, x);
      walk_alphas<P>(r, offsets, dx, first, last, [&](int row, const Bundle<2>& alpha) S3D_INLINE {
        const Bundle<2> t = state.template load<kWalk>(column, row, kT);
        const Composited<Bundle<2>> out = composite(alpha, t);
        state.template store<kWalk>(column, row, kT, out.next_t);
        const auto add = [&](int field, const Bundle<2>& value) S3D_INLINE {
          state.template store<kWalk>(column, row, field,
                                      state.template load<kWalk>(column, row, field) + out.weight * value);
        };
        add(kRed, red);
        add(kGreen, green);
        add(kBlue, blue);
        if constexpr (kDepth) {
          add(kExpected, z);
          const auto crosses = (t > Bundle<2>(0.5f)) & (out.next_t <= Bundle<2>(0.5f)) & (out.next_t > Bundle<2>(0.0f));
          state.template store<kWalk>(column, row, kMedian,
                                      select(crosses, z, state.template load<kWalk>(column, row, kMedian)));
        }
        for (int k = 0; k < 2; ++k) {
          if constexpr (kWeights) {
            weight_sum += out.weight.v[k];
            weight_max = max(weight_max, out.weight.v[k]);
          }
          if constexpr (kCount) {
            // Pixels outside the image, and idle ones, hold exactly -1.
            covered += std::popcount(bits((alpha.v[k] > Lane(0.0f)) & (t.v[k] > Lane(-1.0f))));
            blended += std::popcount(bits(out.weight.v[k] > Lane(0.0f)));
          }
        }
      });
    });
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

  for_segments(view, tile, [&](int segment, std::size_t at, int pixels) {
    const auto field = [&](int which) { return state.at(segment, which); };
    float* image = b.image + 3 * at;
    for (int i = 0; i < pixels; ++i) {
      const float t = abs(field(kT)[i]);
      b.transmittance[at + i] = t;
      image[3 * i] = field(kRed)[i] + t * b.background[0];
      image[3 * i + 1] = field(kGreen)[i] + t * b.background[1];
      image[3 * i + 2] = field(kBlue)[i] + t * b.background[2];
      if constexpr (kDepth) {
        b.depth[at + i] = field(kExpected)[i];
        b.median_depth[at + i] = field(kMedian)[i];
      }
    }
  });
}

}  // namespace

void blend_forward(const View& view, const BlendBuffers& b) {
  const bool depth = b.depth != nullptr, weights = b.pair_weights != nullptr, count = b.counts != nullptr;
  auto* tile = &blend_tile<false, false, false>;
  if (count)
    tile = &blend_tile<false, false, true>;
  else if (depth && weights)
    tile = &blend_tile<true, true, false>;
  else if (depth)
    tile = &blend_tile<true, false, false>;
  else if (weights)
    tile = &blend_tile<false, true, false>;
  for_blocks(view.num_tiles(), [&](int index) { tile(view, b, index); });
}

}  // namespace s3d
