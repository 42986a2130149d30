// SPDX-License-Identifier: Apache-2.0
// Dense depth of one photo (the reference) from others with known poses (the sources), in the order of use:
//
//   sweep_planes   cost of planes parallel to the image, at a small size -> volume
//   aggregate_sgm  the volume smoothed along 8 directions -> a first inverse depth, and how clear it is
//   patch_match    slanted planes: propagate, refine, per-pixel choice of sources; optionally with the sources' depth
//   check_depth    which sources' depth agrees
//
// Pixels are handled in rows, whatever the number of threads, and random numbers are hashes of the pixel: the same
// input gives the same bits on any number of threads. The caller owns every buffer.
#pragma once

#include <cstdint>

#include "math/mvs.h"

namespace s3d {

// A plane and its cost, as stored for every pixel: w, gx, gy, cost. w = 0: nothing is known.
inline constexpr int kPlaneFloats = 4;

struct MvsReference {
  const float* grey;  // [H, W], 0..1.
  int width, height;
  float fx, fy, cx, cy;
};

struct MvsSource {
  const std::uint32_t* quads;  // [H, W]: the grey bytes of a pixel, its right, lower and lower right neighbours.
  int width, height;
  Warp<float> to_source, from_source;
  const float* planes;  // [H, W, 4] of the source, or null.
};

struct MvsCosts {
  int best_views;          // Sources whose costs count: the lowest so many.
  float census_share;      // Of the cost; the rest is ZNCC.
  float geometric_weight;  // Cost of a pixel of disagreement with a source's depth (planes given).
  int spacing;             // Pixels between the samples of a patch.
};

inline constexpr int kMvsSourcesMax = 16;

// volume [H, W, planes] bytes: cost 0..2 as 0..254. Inverse depths run evenly from w_far to w_near.
void sweep_planes(const MvsReference& r, const MvsSource* sources, int num_sources, const MvsCosts& costs, float w_far,
                  float w_near, int planes, std::uint8_t* volume);

// planes [H, W, 4] (gx = gy = 0) and clarity [H, W] 0..1, the gap between the best and the second best minimum.
// scratch: [2 * H * W * planes] 16-bit words. p1, p2: penalties of a small and of a large jump, in bytes of the volume.
void aggregate_sgm(const MvsReference& r, const std::uint8_t* volume, float w_far, float w_near, int num_planes, int p1,
                   int p2, std::uint16_t* scratch, float* planes, float* clarity);

struct MvsRounds {
  int count;
  std::uint32_t seed;
  std::uint16_t* likely;  // [H, W] scratch: in which sources (bits) a pixel's plane matches best.
  // [H, W], or null: a pixel looks for a better plane in the last so many rounds only; null: in all.
  const std::uint8_t* last;
};

// planes [H, W, 4] in and out; costs are computed anew first.
void patch_match(const MvsReference& r, const MvsSource* sources, int num_sources, const MvsCosts& costs, float w_far,
                 float w_near, const MvsRounds& rounds, float* planes);

// agreeing [H, W] bytes: how many sources' planes put the same point within max_px of this pixel and max_relative of
// its depth; hidden [H, W] bytes: how many sources see a surface clearly in front of the point instead; passed [H, W]:
// how many see clearly behind it, through the point.
void check_depth(const MvsReference& r, const MvsSource* sources, int num_sources, const float* planes, float max_px,
                 float max_relative, std::uint8_t* agreeing, std::uint8_t* hidden, std::uint8_t* passed);

}  // namespace s3d
