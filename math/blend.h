// SPDX-License-Identifier: Apache-2.0
// Front-to-back blending of one splat into one pixel (or a row of them), and its vjp, also front to back.
//
// alpha = opacity * exp(-0.5 d^T conic d) is computed as 2^p with p = a2 dx^2 + b2 dx dy + c2 dy^2 + log2(opacity),
// where a2, b2, c2 hold -log2(e) times (A/2, B, C/2): opacity and the change of base cost nothing a pixel.
#pragma once

#include "math/scalar.h"
#include "math/thresholds.h"

namespace s3d {

// One pixel's transmittance t in front of the splat. A pixel that is finished holds -t.
template <class T>
struct Blended {
  T alpha;    // Masked: 0 where the splat is not blended.
  T raw;      // 2^p before the clamp at kAlphaMax.
  T weight;   // alpha * t.
  T next_t;
};

template <class T>
S3D_HD Blended<T> blend(T p, T t) {
  Blended<T> out;
  out.raw = exp2(p);
  const T alpha = select(p >= T(kLog2AlphaMin), min(out.raw, T(kAlphaMax)), T(0.0));
  const T weight = alpha * t;
  const T next = t - weight;
  // A finished pixel's t is negative, so it stays finished.
  const auto stop = next < T(kTransmittanceStop);
  out.alpha = select(stop, T(0.0), alpha);
  out.weight = select(stop, T(0.0), weight);
  out.next_t = select(stop, negative(t), next);
  return out;
}

// d loss / d ln(alpha). shade: the pixel's gradient dotted with what the splat adds per unit weight (colour, depth).
// behind: the same dot product summed over everything behind the splat, weights included, background too.
// Zero where alpha was clamped: the clamp is flat.
template <class T>
S3D_HD T blend_vjp(const Blended<T>& b, T shade, T behind) {
  const T v = b.weight * shade - behind * (b.alpha / (T(1.0) - b.alpha));
  return select(b.raw > T(kAlphaMax), T(0.0), v);
}

}  // namespace s3d
