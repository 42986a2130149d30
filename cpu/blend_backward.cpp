// SPDX-License-Identifier: Apache-2.0
// The vjp of blend_forward, front to back like it: transmittance is rebuilt bit for bit, and what lies behind a splat
// is the pixel's total minus what has been passed. A pair's sums go to its own slot; nothing is added across tiles.
#include <bit>
#include <cstring>

#include "cpu/lane_sums.h"
#include "cpu/pool.h"
#include "cpu/tile.h"
#include "math/blend.h"

namespace s3d {
namespace {

constexpr std::uint32_t kPairsAhead = 6;

enum Field { kT, kBehind, kRed, kGreen, kBlue, kDepthGradient };

template <bool kDepth>
using State = SegmentFields<kDepth ? 6 : 5>;

template <bool kDepth>
void load_tile(const View& view, const BlendBuffers& b, const BlendGradients& g, const Tile& tile, State<kDepth>& state,
               float v_background[3]) {
  state.clear();
  for (int segment = 0; segment < kColumns * kColumnRows; ++segment) Lane(-1.0f).store(state.at(segment, kT));
  for (int row = 0; row < tile.rows; ++row) {
    const std::size_t line = static_cast<std::size_t>(tile.y0 + row) * view.width + tile.x0;
    for (int x = 0; x < tile.columns; ++x) {
      const float* v = g.v_image + 3 * (line + x);
      const float* pixel = b.image + 3 * (line + x);
      const float t = b.transmittance[line + x];
      state.pixel(x, row, kT) = 1.0f;
      for (int c = 0; c < 3; ++c) state.pixel(x, row, kRed + c) = v[c];
      float behind = pixel[0] * v[0] + pixel[1] * v[1] + pixel[2] * v[2];
      if (g.v_alpha != nullptr) behind -= t * g.v_alpha[line + x];
      if constexpr (kDepth) {
        state.pixel(x, row, kDepthGradient) = g.v_depth[line + x];
        behind += b.depth[line + x] * g.v_depth[line + x];
      }
      state.pixel(x, row, kBehind) = behind;
      for (int c = 0; c < 3; ++c) v_background[c] += t * v[c];
    }
  }
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
  float v_background[3] = {0.0f, 0.0f, 0.0f};
  load_tile<kDepth>(view, b, g, tile, state, v_background);
  if (g.v_background != nullptr) std::memcpy(g.v_background + 3 * index, v_background, sizeof(v_background));

  const std::uint32_t begin = b.tile_start[index], end = b.tile_start[index + 1];
  const std::uint32_t used_end = begin + b.tile_used[index];
  RowTerms terms;
  RowValues alphas, odds;
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
    fill_row_terms(r, y, terms);
    // s sx sy sxx | sxy syy red green | blue z abs_x abs_y
    Lane sums[12];
    for (Lane& sum : sums) sum = Lane(0.0f);
    const Bundle<2> red(r.red), green(r.green), blue(r.blue), z(r.z);
    for_walks(mask, [&](auto walk, int column, int first, int last) S3D_INLINE {
      using P = Place<decltype(walk)::value>;
      constexpr Walk kWalk = decltype(walk)::value;
      const Bundle<2> dx = P::dx(column, x);
      walk_alphas<P>(r, terms, dx, first, last, [&](int row, const Bundle<2>& alpha) S3D_INLINE {
        alphas.store<P>(row, alpha);
        odds.store<P>(row, splat_odds(alpha));
      });
      // Within a walk a lane's dx stays the same, so the moments in x wait until its end.
      Bundle<2> s(0.0f), sy(0.0f), syy(0.0f);
      Lane v_red_sum(0.0f), v_green_sum(0.0f), v_blue_sum(0.0f);
      for (int row = first; row <= last; row += P::kStep) {
        const auto load = [&](int field) S3D_INLINE { return state.template load<kWalk>(column, row, field); };
        const Bundle<2> alpha = alphas.load<P>(row);
        const Composited<Bundle<2>> out = composite(alpha, load(kT));
        state.template store<kWalk>(column, row, kT, out.next_t);
        const Bundle<2> v_red = load(kRed), v_green = load(kGreen), v_blue = load(kBlue);
        Bundle<2> shade = red * v_red + green * v_green + blue * v_blue;
        if constexpr (kDepth) shade = shade + z * load(kDepthGradient);
        const Bundle<2> behind = load(kBehind) - out.weight * shade;
        state.template store<kWalk>(column, row, kBehind, behind);
        const Bundle<2> v = composite_vjp(out, alpha, odds.load<P>(row), shade, behind);
        const Bundle<2> dy = P::per_row(terms.dy, row);
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
          accumulate(sums[10], abs(v * (quadratic + quadratic + P::per_row(terms.linear, row))));
          accumulate(sums[11], abs(v * (Bundle<2>(r.b2) * dx + Bundle<2>(2.0f * r.c2) * dy)));
        }
      }
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
