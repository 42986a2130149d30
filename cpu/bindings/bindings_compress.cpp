// SPDX-License-Identifier: Apache-2.0
// The border of the compression kernels. sparse3d/kernels/cpu/compress.py checks shapes and owns every buffer.
#include "cpu/bindings/bindings_compress.h"

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>

#include "cpu/compress/codebook.h"
#include "cpu/compress/grid_order.h"
#include "cpu/compress/kmeans.h"

namespace nb = nanobind;

namespace s3d {
namespace {

template <class T>
using Array = nb::ndarray<T, nb::c_contig, nb::device::cpu>;
using Floats = Array<float>;
using MaybeFloats = std::optional<Floats>;
using Doubles = Array<double>;
using Words = Array<std::int32_t>;

Rows rows(const Floats& a, int dim) {
  return {a.data(), static_cast<std::int64_t>(a.shape(0)), dim, static_cast<int>(a.shape(1))};
}

}  // namespace

void bind_compress(nb::module_& m) {
  m.attr("kmeans_pad") = kKmeansPad;
  m.def("kmeans_assign", [](Floats vectors, Floats entries, int dim, Floats half_norms, Words labels, Floats errors) {
    nb::gil_scoped_release release;
    kmeans_assign(rows(vectors, dim), rows(entries, dim), half_norms.data(), labels.data(), errors.data());
  });
  m.def("kmeans_assign_near", [](Floats vectors, Floats entries, int dim, Floats half_norms, Words order, int cap,
                                 Words labels, Floats errors) {
    nb::gil_scoped_release release;
    return kmeans_assign_near(rows(vectors, dim), rows(entries, dim), half_norms.data(), order.data(), cap,
                              labels.data(), errors.data());
  });
  m.def(
      "kmeans_update",
      [](Floats vectors, int dim, MaybeFloats weights, Words order, Words starts, Floats entries) {
        nb::gil_scoped_release release;
        kmeans_update(rows(vectors, dim), weights ? weights->data() : nullptr, order.data(), starts.data(),
                      static_cast<std::int64_t>(entries.shape(0)), entries.data());
      },
      nb::arg("vectors"), nb::arg("dim"), nb::arg("weights").none(), nb::arg("order"), nb::arg("starts"),
      nb::arg("entries"));
  m.def(
      "kmeans_split",
      [](Floats vectors, int dim, MaybeFloats weights, std::uint32_t seed, Words order, Words starts) {
        nb::gil_scoped_release release;
        return kmeans_split(rows(vectors, dim), weights ? weights->data() : nullptr,
                            static_cast<std::int64_t>(starts.shape(0)) - 1, seed, order.data(), starts.data());
      },
      nb::arg("vectors"), nb::arg("dim"), nb::arg("weights").none(), nb::arg("seed"), nb::arg("order"),
      nb::arg("starts"));
  m.def("codebook_intervals", [](Doubles sums, Words starts) {
    nb::gil_scoped_release release;
    codebook_intervals(sums.data(), static_cast<std::int32_t>(sums.shape(0)) - 1,
                       static_cast<std::int32_t>(starts.shape(0)) - 1, starts.data());
  });
  m.attr("grid_stride") = kGridStride;
  m.def("grid_order_round", [](Floats features, int width, int height, int radius, int sweeps, std::uint32_t seed,
                               Words cells, Floats scratch) {
    const Grid grid = {features.data(), static_cast<std::int64_t>(features.shape(0)), width, height};
    nb::gil_scoped_release release;
    return grid_order_round(grid, radius, sweeps, seed, cells.data(), scratch.data());
  });
}

}  // namespace s3d
