// SPDX-License-Identifier: Apache-2.0
// The CPU rasteriser's stages, in the order in which they run. The caller owns every buffer.
//
//   project          parameters -> records of the visible splats (block by block, gaps between the blocks), and how
//                    many splat-tile pairs there are; the caller makes room for them
//   sort_by_depth    -> `order`, records front to back, ties by index
//   bin              -> every tile's pairs, front to back
//   blend_forward    -> image
//   blend_backward   -> one gradient record a pair, in the pair's own slot
//   finish_backward  -> each visible splat's slots summed in a fixed order, taken through projection and SH, and
//                       either written out as gradients or fed to Adam at once
//
// Splats are handled in blocks of kBlockSplats, whatever the number of threads, and every sum has a fixed order: the
// same input gives the same bits on any number of threads.
#pragma once

#include <cstddef>
#include <cstdint>

#include "math/adam.h"
#include "math/lane.h"
#include "math/projection.h"
#include "math/thresholds.h"

namespace s3d {

inline constexpr int kBlockSplats = 512;
inline constexpr int kTilePixels = kTilePx * kTilePx;
// A row of a tile is kColumns groups of kLanes pixels; a group is a segment, numbered column * 16 + row.
inline constexpr int kColumns = kTilePx / kLanes;
using SegmentMask = std::uint64_t;

// A visible splat as the blending loops want it: one cache line.
struct alignas(64) SplatRecord {
  float x, y;                // Mean, pixels.
  float a2, b2, c2, log2_o;  // See math/blend.h.
  float slope, rest, reach;  // Of the ellipse alpha = kAlphaMin: dx = slope dy -+ sqrt(reach - rest dy^2).
  float red, green, blue;    // Clamped at 0.
  float z;
  std::uint32_t splat;       // Row of the parameters.
  std::uint32_t first_slot;  // Its pairs' slots stand together, counted from the block's first (block_slots).
  std::uint32_t num_pairs;
};
static_assert(sizeof(SplatRecord) == 64);

// The tiles of the record at the same place: rows y0 .. y0 + rows - 1, columns span[2 j] .. span[2 j + 1] - 1 in row j.
// Splats that reach over more rows than are kept have their spans worked out again where they are needed.
inline constexpr int kSpansKept = 6;
struct alignas(32) SplatTiles {
  float radius;  // Larger half size of the bounding box, pixels.
  std::uint16_t y0, rows;
  std::uint16_t span[2 * kSpansKept];
};
static_assert(sizeof(SplatTiles) == 32);

struct Pair {
  std::uint32_t record;
  std::uint32_t slot;
};

// Sums over a pair's pixels of v = d loss / d ln(alpha), its moments, and the gradients of what is blended.
struct PairGradient {
  float s, sx, sy, sxx, sxy, syy;  // v, v dx, v dy, v dx^2, v dx dy, v dy^2.
  float red, green, blue, z;
  float abs_x, abs_y;  // |v (2 a2 dx + b2 dy)|, |v (b2 dx + 2 c2 dy)|.
};
static_assert(sizeof(PairGradient) == 48);

struct SplatParameters {
  const float *means, *quats, *log_scales, *logit_opacities, *sh0, *shN;
  std::int64_t count;
  int sh_rest;  // Coefficients a colour in shN.
};

struct View {
  Pinhole<float> camera;
  int width, height;
  int sh_degree;
  bool antialias;
  float near;
  int tiles_x() const { return (width + kTilePx - 1) / kTilePx; }
  int tiles_y() const { return (height + kTilePx - 1) / kTilePx; }
  int num_tiles() const { return tiles_x() * tiles_y(); }
};

inline int num_blocks(std::int64_t count) { return static_cast<int>((count + kBlockSplats - 1) / kBlockSplats); }

// Pairs are numbered by 32-bit integers.
inline constexpr std::uint64_t kPairsMax = 0x7fffffff;

// What projection fills. records, tiles: room for `count` rounded up to whole blocks; block_visible [num_blocks];
// block_slots [num_blocks + 1]: first slot of each block's pairs, then the number of pairs.
struct ProjectBuffers {
  SplatRecord* records;
  SplatTiles* tiles;
  std::int32_t* block_visible;
  std::uint32_t* block_slots;
};
// Returns the number of visible splats, or -1 where there would be more pairs than kPairsMax.
std::int64_t project(const SplatParameters& p, const View& view, const ProjectBuffers& out);

// order [visible]; scratch [3 * visible].
void sort_by_depth(const ProjectBuffers& projected, std::int64_t count, std::int64_t visible, std::uint32_t* order,
                   std::uint32_t* scratch);

// histogram [num_blocks(visible), num_tiles] is scratch; tile_start [num_tiles + 1]; pairs [number of pairs].
void bin(const ProjectBuffers& projected, const std::uint32_t* order, std::int64_t visible, const View& view,
         std::uint32_t* histogram, std::uint32_t* tile_start, Pair* pairs);

struct BlendBuffers {
  const SplatRecord* records;
  const Pair* pairs;
  const std::uint32_t* tile_start;
  SegmentMask* masks;        // [pairs]: segments that a pair may touch and that were alive.
  std::uint32_t* tile_used;  // [num_tiles]: pairs handled before the whole tile was finished.
  float* image;              // [H, W, 3]
  float* transmittance;      // [H, W], final.
  float* depth;              // [H, W] or null.
  float* median_depth;       // [H, W] or null, with depth.
  float* pair_weights;       // [pairs, 2] by slot: sum and maximum of the weight; or null.
  const float* background;   // [3]
  std::uint64_t* counts;     // [num_tiles, 2] or null: pixels inside ellipses before and after the early stop.
};
void blend_forward(const View& view, const BlendBuffers& b);

struct BlendGradients {
  const float* v_image;  // [H, W, 3]
  const float* v_alpha;  // [H, W] or null.
  const float* v_depth;  // [H, W] or null; needs depth.
  PairGradient* slots;   // [pairs]
  float* v_background;   // [num_tiles, 3], a tile's share; or null.
  bool absolute;         // Also abs_x, abs_y.
};
void blend_backward(const View& view, const BlendBuffers& b, const BlendGradients& g);

// Running sums for density control, [count] each.
struct DensitySums {
  float *grad_abs, *grad, *visible, *weight_sum, *weight_max, *radius_max;
};

// Dense gradients of one view, written (not added) for every splat of every block, zero for invisible ones.
struct SplatGradients {
  float *means, *quats, *log_scales, *logit_opacities, *sh0, *shN;
};

struct AdamBuffers {
  float* param[6];  // means, quats, log_scales, logit_opacities, sh0, shN.
  float* m[6];
  float* v[6];
  AdamCoefficients<float> coefficients[6];
  float opacity_reg,
      scale_reg;  // Gradients of reg * mean(opacity) and reg * mean(scale), divided by the count outside.
};

struct FinishBuffers {
  ProjectBuffers projected;
  const PairGradient* slots;
  const float* pair_weights;  // As above, or null.
  SplatGradients* gradients;  // Exactly one of these two.
  const AdamBuffers* adam;
  const DensitySums* density;  // Or null.
  float* v_camera;             // [num_blocks, 12] rows of [R | t], a block's share; or null.
};
void finish_backward(const SplatParameters& p, const View& view, const FinishBuffers& f);

}  // namespace s3d
