// SPDX-License-Identifier: Apache-2.0
// The border of the dense-depth kernels. sparse3d/kernels/cpu/mvs.py checks shapes and owns every buffer.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <stdexcept>

#include "cpu/bindings/bindings_mvs.h"
#include "cpu/mvs/mvs.h"

namespace nb = nanobind;

namespace s3d {
namespace {

template <class T>
using Array = nb::ndarray<T, nb::c_contig, nb::device::cpu>;
using Floats = Array<float>;
using Words = Array<std::int32_t>;
using Bytes = Array<std::uint8_t>;

struct Source {
  Words quads;   // [H, W]
  Floats warps;  // [24]: A, b to the source, A, b back.
  std::optional<Floats> planes;
};

MvsReference reference(const Floats& grey, const std::vector<float>& k) {
  return {grey.data(), static_cast<int>(grey.shape(1)), static_cast<int>(grey.shape(0)), k[0], k[1], k[2], k[3]};
}

std::vector<MvsSource> views(const std::vector<Source>& sources) {
  if (sources.size() > kMvsSourcesMax) throw std::invalid_argument("more than 16 sources");
  std::vector<MvsSource> out;
  for (const Source& s : sources) {
    MvsSource v;
    v.quads = reinterpret_cast<const std::uint32_t*>(s.quads.data());
    v.width = static_cast<int>(s.quads.shape(1));
    v.height = static_cast<int>(s.quads.shape(0));
    const float* m = s.warps.data();
    for (Warp<float>* w : {&v.to_source, &v.from_source}) {
      std::copy_n(m, 9, w->a);
      std::copy_n(m + 9, 3, w->b);
      m += 12;
    }
    v.planes = s.planes ? s.planes->data() : nullptr;
    out.push_back(v);
  }
  return out;
}

}  // namespace

void bind_mvs(nb::module_& m) {
  nb::class_<Source>(m, "MvsSource")
      .def(
          "__init__",
          [](Source* self, Words quads, Floats warps, std::optional<Floats> planes) {
            new (self) Source{std::move(quads), std::move(warps), std::move(planes)};
          },
          nb::arg("quads"), nb::arg("warps"), nb::arg("planes").none())
      .def_prop_ro("has_planes", [](const Source& self) { return self.planes.has_value(); });
  nb::class_<MvsCosts>(m, "MvsCosts")
      .def(
          "__init__",
          [](MvsCosts* self, int best_views, float census_share, float geometric_weight, int spacing) {
            new (self) MvsCosts{best_views, census_share, geometric_weight, spacing};
          },
          nb::arg("best_views"), nb::arg("census_share"), nb::arg("geometric_weight"), nb::arg("spacing"));
  m.attr("mvs_sources_max") = kMvsSourcesMax;
  m.def("sweep_planes", [](Floats grey, std::vector<float> k, std::vector<Source> sources, const MvsCosts& costs,
                           float w_far, float w_near, Bytes volume) {
    const auto all = views(sources);
    nb::gil_scoped_release release;
    sweep_planes(reference(grey, k), all.data(), static_cast<int>(all.size()), costs, w_far, w_near,
                 static_cast<int>(volume.shape(2)), volume.data());
  });
  m.def("aggregate_sgm", [](Floats grey, Bytes volume, float w_far, float w_near, int p1, int p2,
                            Array<std::int16_t> scratch, Floats planes, Floats clarity) {
    nb::gil_scoped_release release;
    aggregate_sgm(reference(grey, {1, 1, 0, 0}), volume.data(), w_far, w_near, static_cast<int>(volume.shape(2)), p1,
                  p2, reinterpret_cast<std::uint16_t*>(scratch.data()), planes.data(), clarity.data());
  });
  m.def(
      "patch_match",
      [](Floats grey, std::vector<float> k, std::vector<Source> sources, const MvsCosts& costs, float w_far,
         float w_near, int count, std::uint32_t seed, std::optional<Bytes> last, Array<std::int16_t> likely,
         Floats planes) {
        const auto all = views(sources);
        const MvsRounds rounds = {count, seed, reinterpret_cast<std::uint16_t*>(likely.data()),
                                  last ? last->data() : nullptr};
        nb::gil_scoped_release release;
        patch_match(reference(grey, k), all.data(), static_cast<int>(all.size()), costs, w_far, w_near, rounds,
                    planes.data());
      },
      nb::arg("grey"), nb::arg("intrinsics"), nb::arg("sources"), nb::arg("costs"), nb::arg("w_far"), nb::arg("w_near"),
      nb::arg("count"), nb::arg("seed"), nb::arg("last").none(), nb::arg("likely"), nb::arg("planes"));
  m.def("check_depth", [](Floats grey, std::vector<float> k, std::vector<Source> sources, Floats planes, float max_px,
                          float max_relative, Bytes agreeing, Bytes hidden, Bytes passed) {
    const auto all = views(sources);
    nb::gil_scoped_release release;
    check_depth(reference(grey, k), all.data(), static_cast<int>(all.size()), planes.data(), max_px, max_relative,
                agreeing.data(), hidden.data(), passed.data());
  });
}

}  // namespace s3d
