// SPDX-License-Identifier: Apache-2.0
// L1 and SSIM between two images [H, W, 3], and the gradient with respect to the first.
//
// loss = (1 - ssim_weight) * mean |x - y| + ssim_weight * (1 - mean SSIM). With a mask (0..1), both images are
// multiplied by it before windowing, and the means run over mask-weighted pixels. An all-zero mask gives zero
// everywhere.
#pragma once

#include <cstddef>

namespace s3d {

struct Photometric {
  const float* image;
  const float* target;
  const float* mask;  // [H, W] or null.
  int height, width;
  float ssim_weight;
};

struct PhotometricResult {
  double loss = 0.0, l1 = 0.0, ssim = 0.0, squared_error = 0.0;  // Means; squared_error is over mask-weighted pixels.
};

// Floats that the caller lends: three maps, blurred in the second pass.
std::size_t photometric_scratch(int height, int width);

// v_image [H, W, 3] or null (then only the numbers are computed; scratch may be null).
PhotometricResult photometric(const Photometric& p, float* scratch, float* v_image);

}  // namespace s3d
