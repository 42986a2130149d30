// SPDX-License-Identifier: Apache-2.0
// Both passes run over patches of the image: a strip of columns times a band of rows. In a patch a ring of 11 rows
// holds horizontal blurs, small enough for the first-level cache; the vertical blur of a row is then a weighted sum of
// the ring. Lanes run along the interleaved row, so a step of one pixel is a step of 3 floats.
#include "cpu/raster/photometric.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iterator>
#include <vector>

#include "cpu/base/pool.h"
#include "math/lane.h"
#include "math/ssim.h"

namespace s3d {
namespace {

constexpr int kRadius = 5, kTaps = 2 * kRadius + 1;
constexpr int kStrip = 128;         // Floats; a multiple of every lane count.
constexpr int kBandRows = 96;       // Rows are blurred again where bands meet: a tenth more work.
constexpr int kHalo = 3 * kRadius;  // Floats to either side that a horizontal blur reads.

// exp(-d^2 / (2 * 1.5^2)), normalised.
struct Window {
  float w[kTaps];
  Window() {
    double raw[kTaps], sum = 0.0;
    for (int i = 0; i < kTaps; ++i) sum += raw[i] = std::exp(-(i - kRadius) * (i - kRadius) / 4.5);
    for (int i = 0; i < kTaps; ++i) w[i] = static_cast<float>(raw[i] / sum);
  }
};
const Window window;

// The window's half in registers: w[k] belongs to the taps k pixels away.
struct Taps {
  Lane w[kRadius + 1];
  S3D_HD Taps() {
    for (int k = 0; k <= kRadius; ++k) w[k] = Lane(window.w[kRadius + k]);
  }
};

struct Patch {
  int x0, columns;  // Floats of the interleaved row; columns <= kStrip.
  int y0, y1;
};

struct Layout {
  int strips, bands;
  explicit Layout(const Photometric& p)
      : strips((3 * p.width + kStrip - 1) / kStrip), bands((p.height + kBandRows - 1) / kBandRows) {}
  int count() const { return strips * bands; }
  Patch patch(const Photometric& p, int index) const {
    const int x0 = index % strips * kStrip, y0 = index / strips * kBandRows;
    return {x0, std::min(kStrip, 3 * p.width - x0), y0, std::min(p.height, y0 + kBandRows)};
  }
};

// A strip's part of one row with the halo on both sides; what lies outside the image is zero.
struct alignas(64) HaloRow {
  static constexpr int kLead = 16;  // Keeps the strip itself aligned.
  float data[kLead + kStrip + kLead] = {};
  float* strip() { return data + kLead; }
  const float* strip() const { return data + kLead; }
};

// Copies image row y around the strip. `row` has 3 * width floats.
void load_halo(const float* row, int width3, const Patch& patch, HaloRow& out) {
  const int first = std::max(0, patch.x0 - kHalo), last = std::min(width3, patch.x0 + kStrip + kHalo);
  if (last - first < kStrip + 2 * kHalo) std::fill(std::begin(out.data), std::end(out.data), 0.0f);
  std::memcpy(out.strip() + (first - patch.x0), row + first, static_cast<std::size_t>(last - first) * sizeof(float));
}

void mask_halo(const float* mask_row, int width3, const Patch& patch, HaloRow& row) {
  const int first = std::max(0, patch.x0 - kHalo), last = std::min(width3, patch.x0 + kStrip + kHalo);
  for (int i = first; i < last; ++i) row.strip()[i - patch.x0] *= mask_row[i / 3];
}

// Horizontally blurred rows of kMaps quantities, addressed by the image row modulo 11.
template <int kMaps>
struct alignas(64) Ring {
  float data[kMaps * kTaps * kStrip];

  float* row(int map, int y) { return data + (map * kTaps + (y + kTaps) % kTaps) * kStrip; }
  void clear(int y) {
    for (int map = 0; map < kMaps; ++map) std::memset(row(map, y), 0, kStrip * sizeof(float));
  }
  void blur(int map, int y, const HaloRow& from) {
    float* out = row(map, y);
    const float* in = from.strip();
    const Taps taps;
    for (int i = 0; i < kStrip; i += kLanes) {
      Lane sum = taps.w[0] * Lane::load(in + i);
      for (int k = 1; k <= kRadius; ++k) sum += taps.w[k] * (Lane::load(in + i - 3 * k) + Lane::load(in + i + 3 * k));
      sum.store(out + i);
    }
  }
  // x, y, x^2, y^2 and x y in one sweep.
  void blur_moments(int image_row, const HaloRow& from_x, const HaloRow& from_y) {
    static_assert(kMaps == 5);
    const float* x = from_x.strip();
    const float* y = from_y.strip();
    float* out[5];
    for (int map = 0; map < 5; ++map) out[map] = row(map, image_row);
    const Taps taps;
    for (int i = 0; i < kStrip; i += kLanes) {
      const Lane a = Lane::load(x + i), b = Lane::load(y + i);
      Lane sum[5] = {taps.w[0] * a, taps.w[0] * b, taps.w[0] * (a * a), taps.w[0] * (b * b), taps.w[0] * (a * b)};
      for (int k = 1; k <= kRadius; ++k) {
        const Lane a0 = Lane::load(x + i - 3 * k), a1 = Lane::load(x + i + 3 * k);
        const Lane b0 = Lane::load(y + i - 3 * k), b1 = Lane::load(y + i + 3 * k);
        sum[0] += taps.w[k] * (a0 + a1);
        sum[1] += taps.w[k] * (b0 + b1);
        sum[2] += taps.w[k] * (a0 * a0 + a1 * a1);
        sum[3] += taps.w[k] * (b0 * b0 + b1 * b1);
        sum[4] += taps.w[k] * (a0 * b0 + a1 * b1);
      }
      for (int map = 0; map < 5; ++map) sum[map].store(out[map] + i);
    }
  }
  // Vertical blur centred on image row y.
  void gather(int map, int y, float* out) {
    const float* r[kTaps];
    for (int k = 0; k < kTaps; ++k) r[k] = row(map, y + k - kRadius);
    const Taps taps;
    for (int i = 0; i < kStrip; i += kLanes) {
      Lane sum = taps.w[0] * Lane::load(r[kRadius] + i);
      for (int k = 1; k <= kRadius; ++k)
        sum += taps.w[k] * (Lane::load(r[kRadius - k] + i) + Lane::load(r[kRadius + k] + i));
      sum.store(out + i);
    }
  }
};

struct Sums {
  double l1 = 0.0, ssim = 0.0, squared = 0.0;
};

// The mask's weight of every float of the strip's part of row y; 0 past the image's edge.
void load_weights(const Photometric& p, const Patch& patch, int y, float* out) {
  for (int i = 0; i < kStrip; ++i)
    out[i] = i >= patch.columns  ? 0.0f
             : p.mask == nullptr ? 1.0f
                                 : p.mask[static_cast<std::size_t>(p.width) * y + (patch.x0 + i) / 3];
}

// First pass: SSIM of every pixel of the patch, its partial derivatives, and the sums.
template <bool kGradient>
Sums ssim_patch(const Photometric& p, const Patch& patch, float* const maps[3]) {
  const int n = 3 * p.width;
  Ring<5> ring;
  // A row is copied one turn before it is blurred: reading across freshly written vectors would stall.
  HaloRow x[2], y[2];
  const auto load_row = [&](int row) {
    if (row < 0 || row >= p.height) return;
    const std::size_t line = static_cast<std::size_t>(row) * n;
    load_halo(p.image + line, n, patch, x[row & 1]);
    load_halo(p.target + line, n, patch, y[row & 1]);
    if (p.mask != nullptr) {
      mask_halo(p.mask + static_cast<std::size_t>(row) * p.width, n, patch, x[row & 1]);
      mask_halo(p.mask + static_cast<std::size_t>(row) * p.width, n, patch, y[row & 1]);
    }
  };
  const auto blur_row = [&](int row) {
    load_row(row + 1);
    if (row < 0 || row >= p.height) return ring.clear(row);
    ring.blur_moments(row, x[row & 1], y[row & 1]);
  };
  load_row(patch.y0 - kRadius);
  alignas(64) float moments[5][kStrip], weights[kStrip], out[3][kStrip], pixels[2][kStrip] = {};
  load_weights(p, patch, patch.y0, weights);
  Sums sums;
  for (int row = patch.y0 - kRadius; row < patch.y0 + kRadius; ++row) blur_row(row);
  for (int row = patch.y0; row < patch.y1; ++row) {
    blur_row(row + kRadius);
    for (int map = 0; map < 5; ++map) ring.gather(map, row, moments[map]);
    if (p.mask != nullptr) load_weights(p, patch, row, weights);
    const std::size_t line = static_cast<std::size_t>(row) * n + patch.x0;
    std::memcpy(pixels[0], p.image + line, patch.columns * sizeof(float));
    std::memcpy(pixels[1], p.target + line, patch.columns * sizeof(float));
    Lane ssim_sum(0.0f), l1_sum(0.0f), squared_sum(0.0f);
    for (int i = 0; i < kStrip; i += kLanes) {
      const SsimMoments<Lane> m = {Lane::load(moments[0] + i), Lane::load(moments[1] + i), Lane::load(moments[2] + i),
                                   Lane::load(moments[3] + i), Lane::load(moments[4] + i)};
      const Lane weight = Lane::load(weights + i);
      if constexpr (kGradient) {
        Lane v_x, v_xx, v_xy;
        ssim_sum += weight * ssim_and_vjp(m, v_x, v_xx, v_xy);
        (weight * v_x).store(out[0] + i);
        (weight * v_xx).store(out[1] + i);
        (weight * v_xy).store(out[2] + i);
      } else {
        ssim_sum += weight * ssim(m);
      }
      const Lane d = Lane::load(pixels[0] + i) - Lane::load(pixels[1] + i);
      l1_sum += weight * abs(d);
      squared_sum += weight * d * d;
    }
    if constexpr (kGradient)
      for (int map = 0; map < 3; ++map) std::memcpy(maps[map] + line, out[map], patch.columns * sizeof(float));
    sums.ssim += horizontal_sum(ssim_sum);
    sums.l1 += horizontal_sum(l1_sum);
    sums.squared += horizontal_sum(squared_sum);
  }
  return sums;
}

// Second pass: the partial derivatives blurred back onto the image, plus the gradient of L1.
void gradient_patch(const Photometric& p, const Patch& patch, float* const maps[3], float l1_scale, float ssim_scale,
                    float* v_image) {
  const int n = 3 * p.width;
  Ring<3> ring;
  HaloRow in[2][3];
  const auto load_row = [&](int row) {
    if (row < 0 || row >= p.height) return;
    for (int map = 0; map < 3; ++map)
      load_halo(maps[map] + static_cast<std::size_t>(row) * n, n, patch, in[row & 1][map]);
  };
  const auto blur_row = [&](int row) {
    load_row(row + 1);
    if (row < 0 || row >= p.height) return ring.clear(row);
    for (int map = 0; map < 3; ++map) ring.blur(map, row, in[row & 1][map]);
  };
  load_row(patch.y0 - kRadius);
  alignas(64) float blurred[3][kStrip], weights[kStrip], out[kStrip], pixels[2][kStrip] = {};
  load_weights(p, patch, patch.y0, weights);
  for (int row = patch.y0 - kRadius; row < patch.y0 + kRadius; ++row) blur_row(row);
  for (int row = patch.y0; row < patch.y1; ++row) {
    blur_row(row + kRadius);
    for (int map = 0; map < 3; ++map) ring.gather(map, row, blurred[map]);
    if (p.mask != nullptr) load_weights(p, patch, row, weights);
    const std::size_t line = static_cast<std::size_t>(row) * n;
    std::memcpy(pixels[0], p.image + line + patch.x0, patch.columns * sizeof(float));
    std::memcpy(pixels[1], p.target + line + patch.x0, patch.columns * sizeof(float));
    const Lane l1(l1_scale), scale(ssim_scale);
    for (int i = 0; i < kStrip; i += kLanes) {
      const Lane w = Lane::load(weights + i), a = Lane::load(pixels[0] + i), b = Lane::load(pixels[1] + i);
      const Lane from_ssim = w * (Lane::load(blurred[0] + i) + Lane(2.0f) * w * a * Lane::load(blurred[1] + i) +
                                  w * b * Lane::load(blurred[2] + i));
      const Lane sign = select(a > b, w, select(a < b, -w, Lane(0.0f)));
      (l1 * sign - scale * from_ssim).store(out + i);
    }
    std::memcpy(v_image + line + patch.x0, out, patch.columns * sizeof(float));
  }
}

}  // namespace

std::size_t photometric_scratch(int height, int width) { return static_cast<std::size_t>(height) * width * 9; }

PhotometricResult photometric(const Photometric& p, float* scratch, float* v_image) {
  const Layout layout(p);
  const std::size_t n = static_cast<std::size_t>(p.height) * p.width * 3;
  float* const maps[3] = {scratch, scratch + n, scratch + 2 * n};
  std::vector<Sums> sums(layout.count());
  for_blocks(layout.count(), [&](int index) {
    const Patch patch = layout.patch(p, index);
    sums[index] = v_image != nullptr ? ssim_patch<true>(p, patch, maps) : ssim_patch<false>(p, patch, maps);
  });
  double weight = static_cast<double>(p.height) * p.width;
  if (p.mask != nullptr) {
    weight = 0.0;
    for (std::size_t i = 0; i < n / 3; ++i) weight += p.mask[i];
  }
  const double norm = weight > 0.0 ? 1.0 / (3.0 * weight) : 0.0;
  Sums total;
  for (const Sums& patch : sums) {
    total.l1 += patch.l1;
    total.ssim += patch.ssim;
    total.squared += patch.squared;
  }
  if (v_image != nullptr) {
    const auto l1_scale = static_cast<float>((1.0 - p.ssim_weight) * norm);
    const auto ssim_scale = static_cast<float>(p.ssim_weight * norm);
    for_blocks(layout.count(),
               [&](int index) { gradient_patch(p, layout.patch(p, index), maps, l1_scale, ssim_scale, v_image); });
  }
  if (weight <= 0.0) return {};  // Nothing counts: no loss, and the gradient is zero.
  PhotometricResult out;
  out.l1 = total.l1 * norm;
  out.ssim = total.ssim * norm;
  out.squared_error = total.squared * norm;
  out.loss = (1.0 - p.ssim_weight) * out.l1 + p.ssim_weight * (1.0 - out.ssim);
  return out;
}

}  // namespace s3d
