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

struct alignas(64) TileGradients {
  float t[kTilePixels], behind[kTilePixels];
  float red[kTilePixels], green[kTilePixels], blue[kTilePixels], depth[kTilePixels];
};

template <bool kDepth>
void load_tile(const View& view, const BlendBuffers& b, const BlendGradients& g, const Tile& tile, TileGradients& state,
               float v_background[3]) {
  std::memset(&state, 0, sizeof(state));
  for (float& t : state.t) t = -1.0f;
  for (int row = 0; row < tile.rows; ++row) {
    const std::size_t line = static_cast<std::size_t>(tile.y0 + row) * view.width + tile.x0;
    for (int x = 0; x < tile.columns; ++x) {
      const int at = (16 * (x / kLanes) + row) * kLanes + x % kLanes;
      const float* v = g.v_image + 3 * (line + x);
      const float* pixel = b.image + 3 * (line + x);
      const float t = b.transmittance[line + x];
      state.t[at] = 1.0f;
      state.red[at] = v[0];
      state.green[at] = v[1];
      state.blue[at] = v[2];
      float behind = pixel[0] * v[0] + pixel[1] * v[1] + pixel[2] * v[2];
      if (g.v_alpha != nullptr) behind -= t * g.v_alpha[line + x];
      if constexpr (kDepth) {
        state.depth[at] = g.v_depth[line + x];
        behind += b.depth[line + x] * g.v_depth[line + x];
      }
      state.behind[at] = behind;
      for (int c = 0; c < 3; ++c) v_background[c] += t * v[c];
    }
  }
}

template <bool kDepth, bool kAbsolute>
void blend_tile_vjp(const View& view, const BlendBuffers& b, const BlendGradients& g, int index) {
  const Tile tile(view, index);
  TileGradients state;
  float v_background[3] = {0.0f, 0.0f, 0.0f};
  load_tile<kDepth>(view, b, g, tile, state, v_background);
  if (g.v_background != nullptr) std::memcpy(g.v_background + 3 * index, v_background, sizeof(v_background));

  const std::uint32_t begin = b.tile_start[index], end = b.tile_start[index + 1];
  const std::uint32_t used_end = begin + b.tile_used[index];
  RowTerms terms;
  for (std::uint32_t i = begin; i < used_end; ++i) {
    PairGradient& slot = g.slots[b.pairs[i].slot];
    const SegmentMask mask = b.masks[i];
    if (mask == 0) {
      std::memset(&slot, 0, sizeof(slot));
      continue;
    }
    const SplatRecord& r = b.records[b.pairs[i].record];
    const float x = r.x - static_cast<float>(tile.x0), y = r.y - static_cast<float>(tile.y0);
    fill_row_terms(r, y, terms);
    // s sx sy sxx | sxy syy red green | blue z abs_x abs_y
    Lane sums[12];
    for (Lane& sum : sums) sum = Lane(0.0f);
    const Lane red(r.red), green(r.green), blue(r.blue), z(r.z), b2(r.b2);
    for (int column = 0; column < kColumns; ++column) {
      std::uint32_t rows = static_cast<std::uint32_t>(mask >> (16 * column)) & 0xffffu;
      if (rows == 0) continue;
      const Lane dx = Lane::load(kRowCentres) + Lane(static_cast<float>(column * kLanes) - x);
      const Lane quadratic = Lane(r.a2) * dx;
      const Lane slope_x = quadratic + quadratic, slope_y = b2 * dx;
      Lane s(0.0f), sy(0.0f), syy(0.0f);
      for (; rows != 0; rows &= rows - 1) {
        const int row = std::countr_zero(rows);
        const int at = (16 * column + row) * kLanes;
        const Lane dy(terms.dy[row]), linear(terms.linear[row]);
        const Lane p = (quadratic + linear) * dx + Lane(terms.constant[row]);
        const Blended<Lane> out = blend(p, Lane::load(state.t + at));
        out.next_t.store(state.t + at);
        const Lane v_red = Lane::load(state.red + at), v_green = Lane::load(state.green + at);
        const Lane v_blue = Lane::load(state.blue + at);
        Lane shade = red * v_red + green * v_green + blue * v_blue;
        if constexpr (kDepth) shade += z * Lane::load(state.depth + at);
        const Lane behind = Lane::load(state.behind + at) - out.weight * shade;
        behind.store(state.behind + at);
        const Lane v = blend_vjp(out, shade, behind);
        s += v;
        sy += v * dy;
        syy += v * dy * dy;
        sums[6] += out.weight * v_red;
        sums[7] += out.weight * v_green;
        sums[8] += out.weight * v_blue;
        if constexpr (kDepth) sums[9] += out.weight * Lane::load(state.depth + at);
        if constexpr (kAbsolute) {
          sums[10] += abs(v * (slope_x + linear));
          sums[11] += abs(v * (slope_y + Lane(2.0f * r.c2) * dy));
        }
      }
      sums[0] += s;
      sums[1] += s * dx;
      sums[2] += sy;
      sums[3] += s * dx * dx;
      sums[4] += sy * dx;
      sums[5] += syy;
    }
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
  if (depth && g.absolute) tile = &blend_tile_vjp<true, true>;
  else if (depth) tile = &blend_tile_vjp<true, false>;
  else if (g.absolute) tile = &blend_tile_vjp<false, true>;
  for_blocks(view.num_tiles(), [&](int index) { tile(view, b, g, index); });
}

}  // namespace s3d
