// SPDX-License-Identifier: Apache-2.0
// Both passes run over bands of rows. In a band a ring of 11 rows holds horizontal blurs; the vertical blur of a row is
// then a weighted sum of the ring. Lanes run along the interleaved row, so a step of one pixel is a step of 3 floats.
#include "cpu/photometric.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <vector>

#include "cpu/pool.h"
#include "math/lane.h"
#include "math/ssim.h"

namespace s3d {
namespace {

constexpr int kRadius = 5, kTaps = 2 * kRadius + 1;
constexpr int kBandRows = 32;

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

// A row of `width` floats with room on both sides: kRadius pixels of zeros, and lanes past the end.
class PaddedRow {
 public:
  explicit PaddedRow(int width) : data_(3 * kRadius + width + 3 * kRadius + kLanes, 0.0f) {}
  float* begin() { return data_.data() + 3 * kRadius; }
  const float* begin() const { return data_.data() + 3 * kRadius; }

 private:
  std::vector<float> data_;
};

S3D_HD Lane blur_at(const float* row, int at) {
  Lane sum = Lane(window.w[kRadius]) * Lane::load(row + at);
  for (int k = 1; k <= kRadius; ++k)
    sum += Lane(window.w[kRadius + k]) * (Lane::load(row + at - 3 * k) + Lane::load(row + at + 3 * k));
  return sum;
}

// `kMaps` rings of kTaps horizontally blurred rows, addressed by the image row.
template <int kMaps>
class Ring {
 public:
  explicit Ring(int width) : stride_(width + kLanes), data_(static_cast<std::size_t>(kMaps) * kTaps * stride_, 0.0f) {}
  float* row(int map, int y) { return data_.data() + (static_cast<std::size_t>(map) * kTaps + (y + kTaps) % kTaps) * stride_; }
  void clear(int y) {
    for (int map = 0; map < kMaps; ++map) std::memset(row(map, y), 0, stride_ * sizeof(float));
  }
  // Vertical blur centred on image row y. `rows` from rows_around(map, y).
  struct Around {
    const float* r[kTaps];
    Lane at(int x) const {
      Lane sum = Lane(window.w[kRadius]) * Lane::load(r[kRadius] + x);
      for (int k = 1; k <= kRadius; ++k)
        sum += Lane(window.w[kRadius + k]) * (Lane::load(r[kRadius - k] + x) + Lane::load(r[kRadius + k] + x));
      return sum;
    }
  };
  Around around(int map, int y) {
    Around out;
    for (int k = 0; k < kTaps; ++k) out.r[k] = row(map, y + k - kRadius);
    return out;
  }

 private:
  std::size_t stride_;
  std::vector<float> data_;
};

struct RowSums {
  double l1 = 0.0, ssim = 0.0, squared = 0.0;
};

void masked_row(const Photometric& p, const float* image, int y, float* out) {
  const std::size_t width = p.width;
  const float* row = image + 3 * width * y;
  if (p.mask == nullptr) {
    std::memcpy(out, row, 3 * width * sizeof(float));
    return;
  }
  for (std::size_t x = 0; x < width; ++x)
    for (int c = 0; c < 3; ++c) out[3 * x + c] = row[3 * x + c] * p.mask[width * y + x];
}

// First pass: SSIM of every row of the band, its partial derivatives, and the row's sums.
template <bool kGradient>
void ssim_band(const Photometric& p, int y0, int y1, float* const maps[3], RowSums* sums) {
  const int n = 3 * p.width;
  PaddedRow x(n), y(n), xx(n), yy(n), xy(n);
  Ring<5> ring(n);
  std::vector<float> weights(n + kLanes, 0.0f), value(n + kLanes, 0.0f);
  const auto blur_row = [&](int row) {
    if (row < 0 || row >= p.height) return ring.clear(row);
    masked_row(p, p.image, row, x.begin());
    masked_row(p, p.target, row, y.begin());
    for (int i = 0; i < n; i += kLanes) {
      const Lane a = Lane::load(x.begin() + i), b = Lane::load(y.begin() + i);
      (a * a).store(xx.begin() + i);
      (b * b).store(yy.begin() + i);
      (a * b).store(xy.begin() + i);
    }
    const float* rows[5] = {x.begin(), y.begin(), xx.begin(), yy.begin(), xy.begin()};
    for (int map = 0; map < 5; ++map) {
      float* out = ring.row(map, row);
      for (int i = 0; i < n; i += kLanes) blur_at(rows[map], i).store(out + i);
    }
  };
  for (int row = y0 - kRadius; row < y0 + kRadius; ++row) blur_row(row);
  for (int row = y0; row < y1; ++row) {
    blur_row(row + kRadius);
    const auto mx = ring.around(0, row), my = ring.around(1, row), mxx = ring.around(2, row);
    const auto myy = ring.around(3, row), mxy = ring.around(4, row);
    for (int i = 0; i < n; ++i)
      weights[i] = p.mask == nullptr ? 1.0f : p.mask[static_cast<std::size_t>(p.width) * row + i / 3];
    for (int i = 0; i < n; i += kLanes) {
      const SsimMoments<Lane> m = {mx.at(i), my.at(i), mxx.at(i), myy.at(i), mxy.at(i)};
      const Lane weight = Lane::load(weights.data() + i);
      if constexpr (kGradient) {
        Lane v_x, v_xx, v_xy;
        (weight * ssim_and_vjp(m, v_x, v_xx, v_xy)).store(value.data() + i);
        const Lane out[3] = {weight * v_x, weight * v_xx, weight * v_xy};
        const std::size_t at = static_cast<std::size_t>(row) * n + i;
        for (int map = 0; map < 3; ++map) {
          if (i + kLanes <= n) out[map].store(maps[map] + at);
          else
            for (int k = 0; i + k < n; ++k) maps[map][at + k] = out[map][k];
        }
      } else {
        (weight * ssim(m)).store(value.data() + i);
      }
    }
    RowSums& sum = sums[row];
    const float* image = p.image + static_cast<std::size_t>(row) * n;
    const float* target = p.target + static_cast<std::size_t>(row) * n;
    float ssim_sum = 0.0f, l1 = 0.0f, squared = 0.0f;
    for (int i = 0; i < n; ++i) {
      const float d = image[i] - target[i];
      ssim_sum += value[i];
      l1 += weights[i] * std::fabs(d);
      squared += weights[i] * d * d;
    }
    sum.ssim = ssim_sum;
    sum.l1 = l1;
    sum.squared = squared;
  }
}

// Second pass: the partial derivatives blurred back onto the image, plus the gradient of L1.
void gradient_band(const Photometric& p, int y0, int y1, float* const maps[3], float l1_scale, float ssim_scale,
                   float* v_image) {
  const int n = 3 * p.width;
  PaddedRow in(n);
  Ring<3> ring(n);
  const auto blur_row = [&](int row) {
    if (row < 0 || row >= p.height) return ring.clear(row);
    for (int map = 0; map < 3; ++map) {
      std::memcpy(in.begin(), maps[map] + static_cast<std::size_t>(row) * n, n * sizeof(float));
      float* out = ring.row(map, row);
      for (int i = 0; i < n; i += kLanes) blur_at(in.begin(), i).store(out + i);
    }
  };
  for (int row = y0 - kRadius; row < y0 + kRadius; ++row) blur_row(row);
  std::vector<float> x(n + kLanes, 0.0f), y(n + kLanes, 0.0f), weight(n + kLanes, 1.0f), out(n + kLanes);
  for (int row = y0; row < y1; ++row) {
    blur_row(row + kRadius);
    const std::size_t line = static_cast<std::size_t>(row) * n;
    std::memcpy(x.data(), p.image + line, n * sizeof(float));
    std::memcpy(y.data(), p.target + line, n * sizeof(float));
    if (p.mask != nullptr)
      for (int i = 0; i < n; ++i) weight[i] = p.mask[static_cast<std::size_t>(p.width) * row + i / 3];
    const auto v_mean = ring.around(0, row), v_xx = ring.around(1, row), v_xy = ring.around(2, row);
    const Lane l1(l1_scale), scale(ssim_scale);
    for (int i = 0; i < n; i += kLanes) {
      const Lane w = Lane::load(weight.data() + i);
      const Lane a = Lane::load(x.data() + i), b = Lane::load(y.data() + i);
      const Lane from_ssim = w * (v_mean.at(i) + Lane(2.0f) * w * a * v_xx.at(i) + w * b * v_xy.at(i));
      const Lane sign = select(a > b, w, select(a < b, -w, Lane(0.0f)));
      (l1 * sign - scale * from_ssim).store(out.data() + i);
    }
    std::memcpy(v_image + line, out.data(), n * sizeof(float));
  }
}

}  // namespace

std::size_t photometric_scratch(int height, int width) { return static_cast<std::size_t>(height) * width * 9; }

PhotometricResult photometric(const Photometric& p, float* scratch, float* v_image) {
  const int bands = (p.height + kBandRows - 1) / kBandRows;
  const std::size_t n = static_cast<std::size_t>(p.height) * p.width * 3;
  float* const maps[3] = {scratch, scratch + n, scratch + 2 * n};
  std::vector<RowSums> sums(p.height);
  for_blocks(bands, [&](int band) {
    const int y0 = band * kBandRows, y1 = std::min(p.height, y0 + kBandRows);
    if (v_image != nullptr) ssim_band<true>(p, y0, y1, maps, sums.data());
    else ssim_band<false>(p, y0, y1, maps, sums.data());
  });
  double weight = static_cast<double>(p.height) * p.width;
  if (p.mask != nullptr) {
    weight = 0.0;
    for (std::size_t i = 0; i < n / 3; ++i) weight += p.mask[i];
  }
  const double norm = weight > 0.0 ? 1.0 / (3.0 * weight) : 0.0;
  RowSums total;
  for (const RowSums& row : sums) {
    total.l1 += row.l1;
    total.ssim += row.ssim;
    total.squared += row.squared;
  }
  if (v_image != nullptr) {
    const auto l1_scale = static_cast<float>((1.0 - p.ssim_weight) * norm);
    const auto ssim_scale = static_cast<float>(p.ssim_weight * norm);
    for_blocks(bands, [&](int band) {
      const int y0 = band * kBandRows, y1 = std::min(p.height, y0 + kBandRows);
      gradient_band(p, y0, y1, maps, l1_scale, ssim_scale, v_image);
    });
  }
  PhotometricResult out;
  out.l1 = total.l1 * norm;
  out.ssim = total.ssim * norm;
  out.squared_error = total.squared * norm;
  out.loss = (1.0 - p.ssim_weight) * out.l1 + p.ssim_weight * (1.0 - out.ssim);
  return out;
}

}  // namespace s3d
