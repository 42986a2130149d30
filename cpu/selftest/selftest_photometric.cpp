// SPDX-License-Identifier: Apache-2.0
// L1 and SSIM against plain sums over 11x11 windows in double; the gradient against finite differences of those.
#include <cstring>
#include <vector>

#include "cpu/base/pool.h"
#include "cpu/raster/photometric.h"
#include "cpu/selftest/selftest.h"

namespace s3d::selftest {
namespace {

// More than one patch of the kernel in both directions, and no multiple of anything.
constexpr int kWidth = 61, kHeight = 103, kPixels = kWidth * kHeight, kReach = 5;
constexpr float kSsimWeight = 0.3f;

struct Images {
  std::vector<double> x, y, mask;
  double window[2 * kReach + 1];

  Images() : x(3 * kPixels), y(3 * kPixels), mask(kPixels, 1.0) {
    Random random{21};
    for (int i = 0; i < 3 * kPixels; ++i) {
      // Exact in float, and x differs from y by more than a step of the finite differences.
      y[i] = std::round(random.uniform(0.1, 0.9) * 256.0) / 256.0;
      x[i] = y[i] + (random.uniform() < 0.5 ? -1.0 : 1.0) * std::round(random.uniform(1.0, 25.0)) / 256.0;
    }
    for (int i = 0; i < kPixels; ++i)
      if (i % kWidth > 40 && i / kWidth < 50) mask[i] = i % 3 == 0 ? 0.5 : 0.0;
    double sum = 0.0;
    for (int i = -kReach; i <= kReach; ++i) sum += window[i + kReach] = std::exp(-i * i / (2.0 * 1.5 * 1.5));
    for (double& w : window) w /= sum;
  }

  // Mask-weighted SSIM of one channel, summed over the pixels of the box.
  double ssim_sum(int x0, int y0, int x1, int y1, int channel) const {
    double total = 0.0;
    for (int row = std::max(0, y0); row < std::min(kHeight, y1); ++row)
      for (int column = std::max(0, x0); column < std::min(kWidth, x1); ++column) {
        double mx = 0.0, my = 0.0, mxx = 0.0, myy = 0.0, mxy = 0.0;
        for (int i = std::max(0, row - kReach); i <= std::min(kHeight - 1, row + kReach); ++i)
          for (int j = std::max(0, column - kReach); j <= std::min(kWidth - 1, column + kReach); ++j) {
            const int at = i * kWidth + j;
            const double w = window[i - row + kReach] * window[j - column + kReach];
            const double a = mask[at] * x[3 * at + channel], b = mask[at] * y[3 * at + channel];
            mx += w * a;
            my += w * b;
            mxx += w * a * a;
            myy += w * b * b;
            mxy += w * a * b;
          }
        const double c1 = 0.01 * 0.01, c2 = 0.03 * 0.03;
        total += mask[row * kWidth + column] * (2.0 * mx * my + c1) * (2.0 * (mxy - mx * my) + c2) /
                 ((mx * mx + my * my + c1) * (mxx - mx * mx + myy - my * my + c2));
      }
    return total;
  }
};

}  // namespace

void check_photometric(Report& report) {
  Images images;
  const std::vector<float> x(images.x.begin(), images.x.end()), y(images.y.begin(), images.y.end());
  const std::vector<float> mask(images.mask.begin(), images.mask.end());
  std::vector<float> scratch(photometric_scratch(kHeight, kWidth)), gradient(3 * kPixels), again(3 * kPixels);
  const Photometric problem = {x.data(), y.data(), mask.data(), kHeight, kWidth, kSsimWeight};
  set_num_threads(1);
  const PhotometricResult found = photometric(problem, scratch.data(), gradient.data());

  double weight = 0.0, l1 = 0.0, squared = 0.0, ssim = 0.0;
  for (int i = 0; i < kPixels; ++i) {
    weight += 3.0 * images.mask[i];
    for (int c = 0; c < 3; ++c) {
      const double d = images.x[3 * i + c] - images.y[3 * i + c];
      l1 += images.mask[i] * std::fabs(d);
      squared += images.mask[i] * d * d;
    }
  }
  for (int c = 0; c < 3; ++c) ssim += images.ssim_sum(0, 0, kWidth, kHeight, c);
  report.holds("photometric: the images differ, and are alike", ssim / weight > 0.1 && ssim / weight < 0.99);
  report.below("photometric: L1", std::fabs(found.l1 / (l1 / weight) - 1.0), 1e-6);
  report.below("photometric: squared error", std::fabs(found.squared_error / (squared / weight) - 1.0), 1e-6);
  report.below("photometric: SSIM", std::fabs(found.ssim - ssim / weight), 2e-6);

  Random random{22};
  double worst = 0.0, largest = 0.0;
  for (int turn = 0; turn < 40; ++turn) {
    // The first four are corners.
    const int column = turn < 4 ? turn % 2 * (kWidth - 1) : static_cast<int>(random.uniform(0, kWidth));
    const int row = turn < 4 ? turn / 2 * (kHeight - 1) : static_cast<int>(random.uniform(0, kHeight));
    const int channel = turn % 3, at = row * kWidth + column;
    double& pixel = images.x[3 * at + channel];
    const double before = pixel, h = 1e-5;
    double change[2];
    for (int k = 0; k < 2; ++k) {
      pixel = before + (k == 0 ? h : -h);
      const double box = images.ssim_sum(column - kReach, row - kReach, column + kReach + 1, row + kReach + 1, channel);
      change[k] =
          (1.0 - kSsimWeight) * images.mask[at] * std::fabs(pixel - images.y[3 * at + channel]) - kSsimWeight * box;
    }
    pixel = before;
    const double slope = (change[0] - change[1]) / (2.0 * h * weight);
    worst = std::max(worst, std::fabs(slope - gradient[3 * at + channel]));
    largest = std::max(largest, std::fabs(slope));
  }
  report.below("photometric: gradient, relative to the largest", worst / largest, 1e-4);

  bool same = true;
  for (const int threads : {2, 3}) {
    set_num_threads(threads);
    const PhotometricResult other = photometric(problem, scratch.data(), again.data());
    same &= other.loss == found.loss && std::memcmp(again.data(), gradient.data(), 4 * gradient.size()) == 0;
  }
  set_num_threads(1);
  report.holds("photometric: 2 and 3 threads give the same bits", same);
}

}  // namespace s3d::selftest
