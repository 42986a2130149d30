// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nanobind/nanobind.h>

namespace s3d {

// Adds the kernels of compression (palettes, codebooks, grid order) to the module.
void bind_compress(nanobind::module_& m);

}  // namespace s3d
