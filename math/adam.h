// SPDX-License-Identifier: Apache-2.0
// One parameter's step of Adam (Kingma and Ba 2015, algorithm 1).
#pragma once

#include "math/scalar.h"

namespace s3d {

// rest1 = 1 - beta1 and rest2 = 1 - beta2, rounded once; step_size = lr / (1 - beta1^t); inv_bias2 = 1 / (1 - beta2^t);
// eps stands outside the root, as in torch.
template <class T>
struct AdamCoefficients {
  T beta1, beta2, rest1, rest2, eps, step_size, inv_bias2;
};

template <class T>
S3D_HD void adam_update(T gradient, const AdamCoefficients<T>& c, T& parameter, T& m, T& v) {
  m = c.beta1 * m + c.rest1 * gradient;
  v = c.beta2 * v + c.rest2 * gradient * gradient;
  parameter = parameter - c.step_size * m / (sqrt(v * c.inv_bias2) + c.eps);
}

}  // namespace s3d
