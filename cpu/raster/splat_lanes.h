// SPDX-License-Identifier: Apache-2.0
// Parameters of kLanes splats, activated, as the formulas of math/projection.h and math/sh.h want them.
#pragma once

#include "cpu/base/rows.h"
#include "cpu/raster/raster.h"
#include "math/sh.h"

namespace s3d {

S3D_HD Pinhole<Lane> broadcast(const Pinhole<float>& c) {
  Pinhole<Lane> out;
  for (int i = 0; i < 9; ++i) out.r[i] = Lane(c.r[i]);
  for (int i = 0; i < 3; ++i) {
    out.t[i] = Lane(c.t[i]);
    out.centre[i] = Lane(c.centre[i]);
  }
  out.fx = Lane(c.fx);
  out.fy = Lane(c.fy);
  out.cx = Lane(c.cx);
  out.cy = Lane(c.cy);
  out.u_min = Lane(c.u_min);
  out.u_max = Lane(c.u_max);
  out.v_min = Lane(c.v_min);
  out.v_max = Lane(c.v_max);
  return out;
}

S3D_HD void load_shape(const SplatParameters& p, const LaneRows& rows, SplatShape<Lane>& s) {
  load_rows<3>(p.means, 3, rows, s.mean);
  load_rows<4>(p.quats, 4, rows, s.quat);
  Lane log_scale[3];
  load_rows<3>(p.log_scales, 3, rows, log_scale);
  // exp2 holds inside +-126; e^60 world units and e^-60 are beyond any scene.
  // A NaN has to stay one, so that the splat is culled.
  for (int k = 0; k < 3; ++k)
    s.scale[k] =
        select(log_scale[k] == log_scale[k], exp(min(max(log_scale[k], Lane(-60.0f)), Lane(60.0f))), log_scale[k]);
}

S3D_HD Lane load_opacity(const SplatParameters& p, const LaneRows& rows) {
  Lane logit;
  load_rows<1>(p.logit_opacities, 1, rows, &logit);
  return sigmoid(min(max(logit, Lane(-60.0f)), Lane(60.0f)));
}

// Unit direction from the camera to the splat; `length` is kept for the vjp.
S3D_HD void view_direction(const SplatShape<Lane>& s, const Pinhole<Lane>& c, Lane dir[3], Lane& length) {
  for (int k = 0; k < 3; ++k) dir[k] = s.mean[k] - c.centre[k];
  length = sqrt(max(dir[0] * dir[0] + dir[1] * dir[1] + dir[2] * dir[2], Lane(1e-24f)));
  for (int k = 0; k < 3; ++k) dir[k] = dir[k] / length;
}

// Colour before the clamp at 0, and the basis functions that made it.
S3D_HD void shade(const SplatParameters& p, int degree, const LaneRows& rows, const Lane dir[3], Lane* basis,
                  Lane rgb[3]) {
  sh_basis(degree, dir[0], dir[1], dir[2], basis);
  Lane sh[3];
  load_rows<3>(p.sh0, 3, rows, sh);
  for (int c = 0; c < 3; ++c) rgb[c] = Lane(0.5f) + basis[0] * sh[c];
  const int count = (degree + 1) * (degree + 1) - 1;
  for (int k = 0; k < count; ++k) {
    load_rows<3>(p.shN + 3 * k, 3 * p.sh_rest, rows, sh);
    for (int c = 0; c < 3; ++c) rgb[c] += basis[k + 1] * sh[c];
  }
}

}  // namespace s3d
