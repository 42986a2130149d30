// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nanobind/nanobind.h>

namespace s3d {

// Adds the dense-depth kernels to the module.
void bind_mvs(nanobind::module_& m);

}  // namespace s3d
