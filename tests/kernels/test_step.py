# SPDX-License-Identifier: Apache-2.0
"""The trainer's own step: the same bits as the public ops, Adam fused with the backward pass, density statistics."""

from __future__ import annotations

import pytest
import torch
from parity import Backend, Upstream, relative_error, render_with_gradients, upstream_for
from synthetic import SyntheticScene, make_scene
from torch import Tensor

from sparse3d.errors import DataError
from sparse3d.kernels import reference
from sparse3d.kernels.records import (
    AdamHyper,
    AdamState,
    DensityStats,
    OutputGradients,
    Rasterization,
    View,
)
from sparse3d.kernels.reference.photometric import ReferencePhotometric
from sparse3d.splats import PARAMETER_NAMES

LR = {name: 1e-3 * (i + 1) for i, name in enumerate(PARAMETER_NAMES)}


def _scene(**options) -> SyntheticScene:
    return make_scene(61, **{"num_splats": 300, "antialias": True, **options}).to(torch.float32)


class Step:
    """The CPU's step with copies of a scene's parameters and zero moments."""

    def __init__(self, scene: SyntheticScene) -> None:
        from sparse3d.kernels.cpu.step import CpuSplatStep

        self.scene = scene
        self.params = {name: value.clone().contiguous() for name, value in scene.params.items()}
        self.adam = AdamState.zeros(self.params)
        self.stats = DensityStats.zeros(self.params["means"].shape[0])
        self.kernels = CpuSplatStep()

    def render(self):
        s = self.scene
        view = View(s.settings.width, s.settings.height, s.cam_from_world[0], s.intrinsics[0])
        return self.kernels.render(self.params, view, s.background[0], s.settings)

    def backward(
        self,
        arriving: OutputGradients,
        *,
        beta1: float = 0.9,
        regularisers: tuple[float, float] = (0.0, 0.0),
        stats: bool = False,
        camera: bool = False,
    ) -> Tensor | None:
        opacity_reg, scale_reg = regularisers
        hyper = AdamHyper(lr=LR, beta1=beta1, opacity_reg=opacity_reg, scale_reg=scale_reg)
        chosen = self.stats if stats else None
        return self.kernels.backward_adam(self.params, self.adam, hyper, arriving, stats=chosen, camera=camera)


def arriving_at(upstream: Upstream) -> OutputGradients:
    """The gradients of the first view, as the step takes them."""
    return OutputGradients(upstream.image[0].float(), upstream.alpha[0].float(), upstream.depth[0].float())


def _visible(backend: Backend, scene: SyntheticScene) -> tuple[Rasterization, Tensor]:
    rendering = backend.rasterize(*scene.arguments())
    return rendering, rendering.radii[0] > 0


def test_rendering_has_the_same_bits_as_the_public_op(cpu_backend: Backend) -> None:
    scene = _scene()
    expected, _ = _visible(cpu_backend, scene)
    found = Step(scene).render()
    for part in ("image", "alpha", "depth", "median_depth"):
        assert torch.equal(getattr(found, part), getattr(expected, part)[0]), part
    assert found.alpha.max() > 0.5


@pytest.mark.parametrize("masked", [False, True])
def test_loss_has_the_same_bits_as_the_public_op(cpu_backend: Backend, masked: bool) -> None:
    scene = _scene()
    generator = torch.Generator().manual_seed(1)
    target = torch.rand(48, 64, 3, generator=generator)
    mask = (torch.rand(48, 64, generator=generator) < 0.6).float() if masked else None
    seen = Step(scene).render().image
    image = seen.clone().requires_grad_()
    expected = cpu_backend.l1_ssim_loss(image, target, mask, 0.2)
    (v_image,) = torch.autograd.grad(expected, image)
    from sparse3d.kernels.cpu.photometric import CpuPhotometric

    found = CpuPhotometric()(seen, target, mask, 0.2)
    assert found.loss == float(expected.detach())
    assert torch.equal(found.v_image, v_image)
    exact = ReferencePhotometric()(seen.double(), target.double(), None if mask is None else mask.double(), 0.2)
    for part in ("loss", "l1", "ssim", "squared_error"):
        assert getattr(found, part) == pytest.approx(getattr(exact, part), rel=1e-5), part


def test_gradients_have_the_same_bits_as_the_public_op(cpu_backend: Backend) -> None:
    """With beta1 = 0 the first moment is the gradient itself."""
    scene = _scene()
    upstream = upstream_for(scene, 2)
    _, expected = render_with_gradients(cpu_backend.rasterize, scene, upstream)
    step = Step(scene)
    step.render()
    v_pose = step.backward(arriving_at(upstream), beta1=0.0, camera=True)
    _, visible = _visible(cpu_backend, scene)
    assert 0.5 < visible.double().mean() < 1
    for name in PARAMETER_NAMES:
        assert expected[name].abs().max() > 0
        assert torch.equal(step.adam.m[name], expected[name]), name
    assert v_pose is not None
    assert torch.equal(v_pose, expected["cam_from_world"][0, :3])


def test_the_pass_without_adam_gives_the_same_gradients_and_changes_nothing(cpu_backend: Backend) -> None:
    scene = _scene()
    upstream = upstream_for(scene, 2)
    _, expected = render_with_gradients(cpu_backend.rasterize, scene, upstream)
    step = Step(scene)
    step.render()
    for splats, camera in ((True, True), (True, False), (False, True)):
        found = step.kernels.backward(step.params, arriving_at(upstream), splats=splats, camera=camera)
        assert (found.params is not None, found.camera is not None) == (splats, camera)
        for name, gradient in (found.params or {}).items():
            assert torch.equal(gradient, expected[name]), name
        if found.camera is not None:
            assert torch.equal(found.camera, expected["cam_from_world"][0, :3])
    for name in PARAMETER_NAMES:
        assert torch.equal(step.params[name], scene.params[name]), name


def test_a_backward_pass_needs_a_rendering_before_it_and_what_it_is_asked_for(cpu_backend: Backend) -> None:
    scene = _scene().with_settings(depth=False)
    step, image = Step(scene), torch.zeros(48, 64, 3)
    with pytest.raises(DataError, match="backward needs a render before it"):
        step.kernels.backward(step.params, OutputGradients(image))
    with pytest.raises(DataError, match="backward_adam needs a render before it"):
        step.backward(OutputGradients(image))
    step.render()
    with pytest.raises(DataError, match="needs the gradient of the image"):
        step.backward(OutputGradients(alpha=torch.zeros(48, 64)))
    with pytest.raises(DataError, match=r"a gradient of depth needs settings\.depth"):
        step.backward(OutputGradients(image, depth=torch.zeros(48, 64)))


def test_adam_is_the_references_and_skips_what_is_not_seen(cpu_backend: Backend) -> None:
    """Three steps with other gradients each; float64 Adam on the float32 gradients of the public op."""
    scene = _scene()
    step = Step(scene)
    _, first_visible = _visible(cpu_backend, scene)
    m = {name: torch.zeros_like(value, dtype=torch.float64) for name, value in step.params.items()}
    v = {name: value.clone() for name, value in m.items()}
    start = {name: value.clone() for name, value in step.params.items()}
    for number in (1, 2, 3):
        now = scene.with_params(**{name: value.clone() for name, value in step.params.items()})
        upstream = upstream_for(scene, 10 + number)
        _, gradients = render_with_gradients(cpu_backend.rasterize, now, upstream)
        _, visible = _visible(cpu_backend, now)
        step.render()
        step.backward(arriving_at(upstream))
        assert step.adam.step == number
        for name in PARAMETER_NAMES:
            before = now.params[name]
            expected, m[name], v[name] = reference.adam_step(
                before.double(), gradients[name].double(), m[name], v[name], number, LR[name], visible=visible
            )
            assert torch.equal(step.params[name][~visible], before[~visible]), f"{name} of an unseen splat moved"
            moved = (step.params[name].double() - expected).abs().max()
            allowed = 2e-3 * LR[name] + 2e-7 * expected.abs().max()
            assert moved <= allowed, f"{name}: step {number} is off by {moved:.1e}"
            # 1 - 0.999 in float32 is 1.3e-5 off.
            assert relative_error(step.adam.m[name], m[name]) < 1e-5
            assert relative_error(step.adam.v[name], v[name]) < 3e-5
    unseen = ~first_visible
    assert unseen.any()
    assert (step.adam.v["means"][unseen & ~visible] == 0).all()
    assert (step.params["means"] - start["means"]).abs().max() > 1e-3


def test_regularisers_add_the_gradients_of_their_means(cpu_backend: Backend) -> None:
    """opacity_reg * mean(opacity) + scale_reg * mean(scale), for the splats that the step sees."""
    scene = _scene()
    upstream = upstream_for(scene, 3)
    plain, regular = Step(scene), Step(scene)
    for step, weights in ((plain, (0.0, 0.0)), (regular, (40.0, 70.0))):
        step.render()
        step.backward(OutputGradients(upstream.image[0].float()), beta1=0.0, regularisers=weights)
    _, visible = _visible(cpu_backend, scene)
    opacities = torch.sigmoid(scene.params["logit_opacities"].double())
    expected = {
        "logit_opacities": 40.0 / 300 * opacities * (1 - opacities),
        "log_scales": 70.0 / 900 * scene.params["log_scales"].double().exp(),
    }
    for name, addition in expected.items():
        found = (regular.adam.m[name].double() - plain.adam.m[name].double())[visible]
        size = float(plain.adam.m[name].abs().max() + addition.abs().max())
        assert (found - addition[visible]).abs().max() <= 1e-6 * size, name
        assert addition[visible].abs().max() > 1e-3
        assert (regular.adam.m[name][~visible] == 0).all()
    for name in ("means", "quats_wxyz", "sh0", "shN"):
        assert torch.equal(regular.adam.m[name], plain.adam.m[name])


def test_density_statistics_match_the_reference(cpu_backend: Backend) -> None:
    scene = _scene(antialias=False)
    upstream = upstream_for(scene, 4)
    collector = reference.Means2dGradients()
    exact = scene.to(torch.float64)
    leaves = {name: value.clone().requires_grad_() for name, value in exact.tensors().items()}
    rendering = reference.rasterize(*scene.with_tensors(leaves).arguments(), means2d_gradients=collector)
    (rendering.image * upstream.image).sum().backward()
    half = torch.tensor([scene.settings.width / 2, scene.settings.height / 2], dtype=torch.float64)
    step = Step(scene)
    repeats = 2
    for _ in range(repeats):
        step.params = {name: value.clone() for name, value in scene.params.items()}
        step.render()
        step.backward(OutputGradients(upstream.image[0].float()), stats=True)
    stats = step.stats
    seen = (rendering.radii[0] > 0).double()
    expected = {
        "grad_abs": repeats * torch.linalg.vector_norm(collector.absolute[0] * half, dim=1),
        "grad": repeats * torch.linalg.vector_norm(collector.plain[0] * half, dim=1),
        "visible": repeats * seen,
        "weight_sum": repeats * rendering.weight_sum[0],
        "weight_max": rendering.weight_max[0],
        "radius_max": rendering.radii[0],
    }
    # A pair on a cutoff counts in one and not in the other: one part in a thousand of the largest value.
    errors = {name: relative_error(getattr(stats, name), value.detach()) for name, value in expected.items()}
    assert max(errors.values()) < 2e-3, errors
    assert errors["visible"] == 0
    assert (stats.grad_abs >= 0.999 * stats.grad).all()
    assert stats.grad_abs.sum() > 2 * stats.grad.sum()
