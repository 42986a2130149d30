// SPDX-License-Identifier: Apache-2.0
// The border to Python: pointers out of arrays, nothing else. sparse3d/kernels/cpu/ checks shapes and types first, owns
// every buffer, and is the only caller. Every call that computes releases the GIL.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include "cpu/base/calibrate.h"
#include "cpu/base/pool.h"
#include "cpu/bindings/bindings_compress.h"
#include "cpu/bindings/bindings_mvs.h"
#include "cpu/raster/photometric.h"
#include "cpu/raster/raster.h"

namespace nb = nanobind;
using namespace s3d;

namespace {

template <class T>
using Array = nb::ndarray<T, nb::c_contig, nb::device::cpu>;
using Floats = Array<float>;
using MaybeFloats = std::optional<Floats>;
using Words = Array<std::int32_t>;
using Bytes = Array<std::uint8_t>;

float* data(MaybeFloats& a) { return a ? a->data() : nullptr; }
template <class T>
T* as(Bytes& a) {
  return reinterpret_cast<T*>(a.data());
}
std::uint32_t* unsigned_words(Words& a) { return reinterpret_cast<std::uint32_t*>(a.data()); }

struct Parameters {
  std::vector<Floats> arrays;  // means, quats, log_scales, logit_opacities, sh0, shN.
  SplatParameters view() const {
    return {arrays[0].data(),
            arrays[1].data(),
            arrays[2].data(),
            arrays[3].data(),
            arrays[4].data(),
            arrays[5].data(),
            static_cast<std::int64_t>(arrays[0].shape(0)),
            static_cast<int>(arrays[5].shape(1))};
  }
};

// pose: cam_from_world [4, 4]; intrinsics: fx fy cx cy.
View make_view(const Floats& pose, const Floats& intrinsics, int width, int height, int sh_degree, bool antialias,
               float near) {
  View v;
  const float* m = pose.data();
  const float* k = intrinsics.data();
  for (int i = 0; i < 3; ++i) {
    for (int j = 0; j < 3; ++j) v.camera.r[3 * i + j] = m[4 * i + j];
    v.camera.t[i] = m[4 * i + 3];
  }
  for (int j = 0; j < 3; ++j) v.camera.centre[j] = -(m[j] * m[3] + m[4 + j] * m[7] + m[8 + j] * m[11]);
  v.camera.fx = k[0];
  v.camera.fy = k[1];
  v.camera.cx = k[2];
  v.camera.cy = k[3];
  set_jacobian_limits<float>(v.camera, static_cast<float>(width), static_cast<float>(height));
  v.width = width;
  v.height = height;
  v.sh_degree = sh_degree;
  v.antialias = antialias;
  v.near = near;
  return v;
}

}  // namespace

NB_MODULE(S3D_MODULE_NAME, m) {
  m.attr("lanes") = kLanes;
  m.attr("block_splats") = kBlockSplats;
  m.def("set_num_threads", &set_num_threads, nb::call_guard<nb::gil_scoped_release>());
  m.def("num_threads", &num_threads, nb::call_guard<nb::gil_scoped_release>());
  m.def("set_caller_threads", &set_caller_threads, nb::call_guard<nb::gil_scoped_release>());
  m.def("take_fewest_threads", &take_fewest_threads);
  m.def("calibrate_gflops", &calibrate_gflops, nb::call_guard<nb::gil_scoped_release>());
  m.def("calibrate_copy_gbytes", &calibrate_copy_gbytes, nb::call_guard<nb::gil_scoped_release>());
  m.def("photometric_scratch", &photometric_scratch);

  nb::class_<View>(m, "View").def_prop_ro("num_tiles", &View::num_tiles);
  m.def("make_view", &make_view);

  nb::class_<ProjectBuffers>(m, "ProjectBuffers");
  m.def("project_buffers", [](Bytes records, Bytes tiles, Words block_visible, Words block_slots) {
    return ProjectBuffers{as<SplatRecord>(records), as<SplatTiles>(tiles), block_visible.data(),
                          unsigned_words(block_slots)};
  });
  m.def("project", [](std::vector<Floats> parameters, const View& view, const ProjectBuffers& out) {
    const Parameters p{std::move(parameters)};
    nb::gil_scoped_release release;
    return project(p.view(), view, out);
  });
  m.def("sort_by_depth",
        [](const ProjectBuffers& projected, std::int64_t count, std::int64_t visible, Words order, Words scratch) {
          nb::gil_scoped_release release;
          sort_by_depth(projected, count, visible, unsigned_words(order), unsigned_words(scratch));
        });
  m.def("bin", [](const ProjectBuffers& projected, Words order, std::int64_t visible, const View& view, Words histogram,
                  Words tile_start, Words pairs) {
    nb::gil_scoped_release release;
    bin(projected, unsigned_words(order), visible, view, unsigned_words(histogram), unsigned_words(tile_start),
        reinterpret_cast<Pair*>(pairs.data()));
  });

  nb::class_<BlendBuffers>(m, "BlendBuffers");
  m.def(
      "blend_buffers",
      [](Bytes records, Words pairs, Words tile_start, Bytes masks, Words tile_used, Floats image, Floats transmittance,
         MaybeFloats depth, MaybeFloats median_depth, MaybeFloats pair_weights, Floats background,
         std::optional<Bytes> counts) {
        BlendBuffers b;
        b.records = as<SplatRecord>(records);
        b.pairs = reinterpret_cast<const Pair*>(pairs.data());
        b.tile_start = unsigned_words(tile_start);
        b.masks = as<SegmentMask>(masks);
        b.tile_used = unsigned_words(tile_used);
        b.image = image.data();
        b.transmittance = transmittance.data();
        b.depth = data(depth);
        b.median_depth = data(median_depth);
        b.pair_weights = data(pair_weights);
        b.background = background.data();
        b.counts = counts ? as<std::uint64_t>(*counts) : nullptr;
        return b;
      },
      nb::arg("records"), nb::arg("pairs"), nb::arg("tile_start"), nb::arg("masks"), nb::arg("tile_used"),
      nb::arg("image"), nb::arg("transmittance"), nb::arg("depth").none(), nb::arg("median_depth").none(),
      nb::arg("pair_weights").none(), nb::arg("background"), nb::arg("counts").none());
  m.def("blend_forward", &blend_forward, nb::call_guard<nb::gil_scoped_release>());
  m.def(
      "blend_backward",
      [](const View& view, const BlendBuffers& b, Floats v_image, MaybeFloats v_alpha, MaybeFloats v_depth,
         Floats slots, MaybeFloats v_background, bool absolute) {
        nb::gil_scoped_release release;
        blend_backward(view, b,
                       {v_image.data(), data(v_alpha), data(v_depth), reinterpret_cast<PairGradient*>(slots.data()),
                        data(v_background), absolute});
      },
      nb::arg("view"), nb::arg("buffers"), nb::arg("v_image"), nb::arg("v_alpha").none(), nb::arg("v_depth").none(),
      nb::arg("slots"), nb::arg("v_background").none(), nb::arg("absolute"));

  // density: grad_abs, grad, visible, weight_sum, weight_max, radius_max; gradients: as parameters; both may be empty.
  // adam: params, m, v (6 each, 18 arrays) or empty; step_sizes [6]: each group's learning rate over 1 - beta1^step;
  // constants: beta1, beta2, their complements, eps, 1 / (1 - beta2^step), weights of the opacity and scale
  // regularisers.
  m.def(
      "finish_backward",
      [](std::vector<Floats> parameters, const View& view, const ProjectBuffers& projected, Floats slots,
         MaybeFloats pair_weights, std::vector<Floats> gradients, std::vector<Floats> adam,
         std::vector<float> step_sizes, std::vector<float> constants, std::vector<Floats> density,
         MaybeFloats v_camera) {
        const Parameters p{std::move(parameters)};
        SplatGradients g;
        AdamBuffers a;
        DensitySums d;
        FinishBuffers f = {};
        f.projected = projected;
        f.slots = reinterpret_cast<const PairGradient*>(slots.data());
        f.pair_weights = data(pair_weights);
        f.v_camera = data(v_camera);
        if (!gradients.empty()) {
          g = {gradients[0].data(), gradients[1].data(), gradients[2].data(),
               gradients[3].data(), gradients[4].data(), gradients[5].data()};
          f.gradients = &g;
        }
        if (!adam.empty()) {
          for (int i = 0; i < 6; ++i) {
            a.param[i] = adam[i].data();
            a.m[i] = adam[6 + i].data();
            a.v[i] = adam[12 + i].data();
            a.coefficients[i] = {constants[0], constants[1],  constants[2], constants[3],
                                 constants[4], step_sizes[i], constants[5]};
          }
          a.opacity_reg = constants[6];
          a.scale_reg = constants[7];
          f.adam = &a;
        }
        if (!density.empty()) {
          d = {density[0].data(), density[1].data(), density[2].data(),
               density[3].data(), density[4].data(), density[5].data()};
          f.density = &d;
        }
        nb::gil_scoped_release release;
        finish_backward(p.view(), view, f);
      },
      nb::arg("parameters"), nb::arg("view"), nb::arg("projected"), nb::arg("slots"), nb::arg("pair_weights").none(),
      nb::arg("gradients"), nb::arg("adam"), nb::arg("step_sizes"), nb::arg("constants"), nb::arg("density"),
      nb::arg("v_camera").none());

  m.def(
      "photometric",
      [](Floats image, Floats target, MaybeFloats mask, float ssim_weight, MaybeFloats scratch, MaybeFloats v_image) {
        const Photometric p = {
            image.data(), target.data(), data(mask), static_cast<int>(image.shape(0)), static_cast<int>(image.shape(1)),
            ssim_weight};
        PhotometricResult r;
        {
          nb::gil_scoped_release release;
          r = photometric(p, data(scratch), data(v_image));
        }
        return std::make_tuple(r.loss, r.l1, r.ssim, r.squared_error);
      },
      nb::arg("image"), nb::arg("target"), nb::arg("mask").none(), nb::arg("ssim_weight"), nb::arg("scratch").none(),
      nb::arg("v_image").none());

  bind_mvs(m);
  bind_compress(m);
}
