// SPDX-License-Identifier: Apache-2.0
// The vjp of blend_forward, front to back like it: transmittance is rebuilt bit for bit, and what lies behind a splat
// is the pixel's total minus what has been passed. A pair's sums go to its own slot; nothing is added across tiles.
#include <bit>
#include <cstring>

#include "cpu/base/pool.h"
#include "cpu/raster/lane_sums.h"
#include "cpu/raster/tile.h"
#include "math/blend.h"

namespace s3d {
namespace {

constexpr std::uint32_t kPairsAhead = 6;

enum Field { kT, kBehind, kRed, kGreen, kBlue, kDepthGradient };

template <bool kDepth>
using State = SegmentFields<kDepth ? 6 : 5>;

template <bool kDepth>
void load_tile(const View& view, const BlendBuffers& b, const BlendGradients& g, const Tile& tile,
               State<kDepth>& state) {
  state.clear();
  for (int segment = 0; segment < kColumns * kColumnRows; ++segment) Lane(-1.0f).store(state.at(segment, kT));
  for_segments(view, tile, [&](int segment, std::size_t at, int pixels) {
    const auto field = [&](int which) { return state.at(segment, which); };
    const float *v = g.v_image + 3 * at, *image = b.image + 3 * at;
    for (int i = 0; i < pixels; ++i) {
      field(kT)[i] = 1.0f;
      field(kRed)[i] = v[3 * i];
      field(kGreen)[i] = v[3 * i + 1];
      field(kBlue)[i] = v[3 * i + 2];
      float behind = image[3 * i] * v[3 * i] + image[3 * i + 1] * v[3 * i + 1] + image[3 * i + 2] * v[3 * i + 2];
      if (g.v_alpha != nullptr) behind -= b.transmittance[at + i] * g.v_alpha[at + i];
      if constexpr (kDepth) {
        field(kDepthGradient)[i] = g.v_depth[at + i];
        behind += b.depth[at + i] * g.v_depth[at + i];
      }
      field(kBehind)[i] = behind;
    }
  });
}

// The tile's share of the background's gradient.
void background_vjp(const View& view, const BlendBuffers& b, const BlendGradients& g, const Tile& tile,
                    float v_background[3]) {
  std::fill(v_background, v_background + 3, 0.0f);
  for_segments(view, tile, [&](int, std::size_t at, int pixels) {
    for (int i = 0; i < pixels; ++i)
      for (int c = 0; c < 3; ++c) v_background[c] += b.transmittance[at + i] * g.v_image[3 * (at + i) + c];
  });
}

// sum += a * b, group by group in order.
S3D_HD void accumulate(Lane& sum, const Bundle<2>& a, const Bundle<2>& b) {
  for (int k = 0; k < 2; ++k) sum += a.v[k] * b.v[k];
}
S3D_HD void accumulate(Lane& sum, const Bundle<2>& a) {
  for (int k = 0; k < 2; ++k) sum += a.v[k];
}

template <bool kDepth, bool kAbsolute>
void blend_tile_vjp(const View& view, const BlendBuffers& b, const BlendGradients& g, int index) {
  const Tile tile(view, index);
  State<kDepth> state;
  load_tile<kDepth>(view, b, g, tile, state);
  if (g.v_background != nullptr) background_vjp(view, b, g, tile, g.v_background + 3 * index);

  const std::uint32_t begin = b.tile_start[index], end = b.tile_start[index + 1];
  const std::uint32_t used_end = begin + b.tile_used[index];
  RowOffsets offsets;
  for (std::uint32_t i = begin; i < used_end; ++i) {
    PairGradient& slot = g.slots[b.pairs[i].slot];
    const SegmentMask mask = b.masks[i];
    if (mask == 0) {
      std::memset(&slot, 0, sizeof(slot));
      continue;
    }
    const Pair ahead = b.pairs[std::min(i + kPairsAhead, used_end - 1)];
    __builtin_prefetch(&b.records[ahead.record]);
    __builtin_prefetch(&g.slots[ahead.slot], 1);
    const SplatRecord& r = b.records[b.pairs[i].record];
    const float x = r.x - static_cast<float>(tile.x0), y = r.y - static_cast<float>(tile.y0);
    fill_row_offsets(y, offsets);
    // s sx sy sxx | sxy syy red green | blue z abs_x abs_y
    Lane sums[12];
    for (Lane& sum : sums) sum = Lane(0.0f);
    const Bundle<2> red(r.red), green(r.green), blue(r.blue), z(r.z);
    for_walks(mask, [&](auto walk, int column, int first, int last) S3D_INLINE {
      using P = Place<decltype(walk)::value>;
      constexpr Walk kWalk = decltype(walk)::value;
      const Bundle<2> dx = P::dx(column, x);
      // Within a walk a lane's dx stays the same, so the moments in x wait until its end.
      Bundle<2> s(0.0f), sy(0.0f), syy(0.0f);
      Lane v_red_sum(0.0f), v_green_sum(0.0f), v_blue_sum(0.0f);
      walk_alphas<P>(r, offsets, dx, first, last, [&](int row, const Bundle<2>& alpha) S3D_INLINE {
        const auto load = [&](int field) S3D_INLINE { return state.template load<kWalk>(column, row, field); };
        const Composited<Bundle<2>> out = composite(alpha, load(kT));
        state.template store<kWalk>(column, row, kT, out.next_t);
        const Bundle<2> v_red = load(kRed), v_green = load(kGreen), v_blue = load(kBlue);
        Bundle<2> shade = red * v_red + green * v_green + blue * v_blue;
        if constexpr (kDepth) shade = shade + z * load(kDepthGradient);
        const Bundle<2> behind = load(kBehind) - out.weight * shade;
        state.template store<kWalk>(column, row, kBehind, behind);
        const Bundle<2> v = composite_vjp(out, alpha, splat_odds(alpha), shade, behind);
        const Bundle<2> dy = P::per_row(offsets.dy, row);
        const Bundle<2> v_dy = v * dy;
        s = s + v;
        sy = sy + v_dy;
        syy = syy + v_dy * dy;
        accumulate(v_red_sum, out.weight, v_red);
        accumulate(v_green_sum, out.weight, v_green);
        accumulate(v_blue_sum, out.weight, v_blue);
        if constexpr (kDepth) accumulate(sums[9], out.weight, load(kDepthGradient));
        if constexpr (kAbsolute) {
          const Bundle<2> quadratic = Bundle<2>(r.a2) * dx;
          accumulate(sums[10], abs(v * (quadratic + quadratic + Bundle<2>(r.b2) * dy)));
          accumulate(sums[11], abs(v * (Bundle<2>(r.b2) * dx + Bundle<2>(2.0f * r.c2) * dy)));
        }
      });
      for (int k = 0; k < 2; ++k) {
        sums[0] += s.v[k];
        sums[1] += s.v[k] * dx.v[k];
        sums[2] += sy.v[k];
        sums[3] += s.v[k] * dx.v[k] * dx.v[k];
        sums[4] += sy.v[k] * dx.v[k];
        sums[5] += syy.v[k];
      }
      sums[6] += v_red_sum;
      sums[7] += v_green_sum;
      sums[8] += v_blue_sum;
    });
    float* out = &slot.s;
    sum_lanes_of_4(sums, out);
    sum_lanes_of_4(sums + 4, out + 4);
    sum_lanes_of_4(sums + 8, out + 8);
  }
  for (std::uint32_t i = used_end; i < end; ++i) std::memset(&g.slots[b.pairs[i].slot], 0, sizeof(PairGradient));
}

}  // namespace

void blend_backward(const View& view, const BlendBuffers& b, const BlendGradients& g) {
  const bool depth = g.v_depth != nullptr;
  auto* tile = &blend_tile_vjp<false, false>;
  if (depth && g.absolute)
    tile = &blend_tile_vjp<true, true>;
  else if (depth)
    tile = &blend_tile_vjp<true, false>;
  else if (g.absolute)
    tile = &blend_tile_vjp<false, true>;
  for_blocks(view.num_tiles(), [&](int index) { tile(view, b, g, index); });
}

}  // namespace s3d
