# SPDX-License-Identifier: Apache-2.0
"""Training through a quantiser: what is shown, and where the gradient goes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sparse3d.errors import DataError
from sparse3d.kernels.records import AdamHyper, AdamState, OutputGradients, RasterSettings, view_of
from sparse3d.kernels.step import photometric, splat_step
from sparse3d.records.scene import Scene
from sparse3d.splats import PARAMETER_NAMES, Splats
from sparse3d.train.config import DensityConfig, RatesConfig, ScheduleConfig, TrainConfig
from sparse3d.train.splats.straight_through import StraightThrough
from tests.train import tiny
from tests.train.tiny import train

STEP = 0.25


def coarse(splats: Splats) -> Splats:
    """Every value rounded to quarters; rotations normalised and turned over, as a format may."""
    rounded = {name: torch.round(tensor / STEP) * STEP for name, tensor in splats.named()}
    quats = splats.quats_wxyz / splats.quats_wxyz.norm(dim=1, keepdim=True)
    return Splats.of({**rounded, "quats_wxyz": -quats}, antialias=splats.antialias)


def one_step(backend: str, params: dict, at: dict | None, scene: Scene) -> dict:
    """The parameters after one step that rendered `at`, or what is updated."""
    params = {name: tensor.clone() for name, tensor in params.items()}
    kernels = splat_step(backend, 1)
    view = view_of(scene.cameras[0])
    settings = RasterSettings(view.width, view.height, sh_degree=1)
    seen = kernels.render(params if at is None else at, view, torch.zeros(3), settings)
    found = photometric(backend)(seen.image, scene.images[0], None, 0.2)
    hyper = AdamHyper(lr=dict.fromkeys(PARAMETER_NAMES, 1e-3))
    kernels.backward_adam(params, AdamState.zeros(params), hyper, OutputGradients(found.v_image), at=at)
    return params


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_the_gradient_at_the_quantised_splats_moves_the_unquantised_ones(tiny_scene: Scene, backend: str):
    params = dict(tiny.initial().named())
    at = StraightThrough(coarse).shown(params, False)
    moved = one_step(backend, params, at, tiny_scene)
    at_itself = one_step(backend, at, None, tiny_scene)
    for name in PARAMETER_NAMES:
        change, expected = moved[name] - params[name], at_itself[name] - at[name]
        assert change.abs().max() > 5e-4, name
        # Adam's first step is the sign of the gradient times the rate.
        assert torch.allclose(change, expected, atol=1e-5), name


def test_what_is_shown_is_the_quantised_value_with_the_rotation_as_it_was_written():
    params = dict(tiny.initial().named())
    params["quats_wxyz"] = params["quats_wxyz"] * 3.0
    params["logit_opacities"][0] = 200.0
    shown = StraightThrough(coarse).shown(params, False)
    assert torch.allclose(shown["quats_wxyz"], params["quats_wxyz"], atol=1e-5)
    assert torch.equal(shown["sh0"], torch.round(params["sh0"] / STEP) * STEP)
    assert shown["logit_opacities"][0] == 30.0


def test_a_slow_quantiser_is_asked_once_in_a_while():
    calls = []

    def counted(splats: Splats) -> Splats:
        calls.append(splats.num_splats)
        return coarse(splats)

    through, params = StraightThrough(counted, every=3), dict(tiny.initial().named())
    first = through.shown(params, False)
    params["sh0"] = params["sh0"] + 0.01
    second = through.shown(params, False)
    assert len(calls) == 1
    assert torch.allclose(second["sh0"], first["sh0"] + 0.01, atol=1e-6)
    through.shown(params, False)
    through.shown(params, False)
    assert len(calls) == 2


def test_a_quantiser_must_keep_the_splats():
    params = dict(tiny.initial().named())
    with pytest.raises(DataError, match="must keep the splats"):
        StraightThrough(lambda s: s.select(torch.arange(5))).shown(params, False)
    with pytest.raises(ValueError, match="every is 0"):
        StraightThrough(coarse, 0)


def test_tuning_through_a_quantiser_brings_back_what_it_cost(tiny_scene: Scene):
    cfg = TrainConfig(
        steps=200, sh_degree=1, threads=1, density=DensityConfig(policy="fixed"),
        schedule=ScheduleConfig(half_size_until=0.0, sh_degree_every=0.0),
        rates=RatesConfig(opacities=0.01, scales=1e-3, others_final=0.02),
    )  # fmt: skip

    def few_values(splats: Splats) -> Splats:
        return replace(splats, log_scales=torch.round(splats.log_scales * 2) / 2, sh0=torch.round(splats.sh0 * 4) / 4)

    scene = replace(tiny_scene, test=())

    def trained(through: StraightThrough | None) -> Splats:
        running = train(scene, tiny.true_splats(), cfg, None, through=through)
        while True:
            try:
                next(running)
            except StopIteration as end:
                return end.value

    def error(splats: Splats) -> float:
        total, kernels, loss_of = 0.0, splat_step("cpu", 1), photometric("cpu")
        for index in scene.train:
            view = view_of(scene.cameras[index])
            settings = RasterSettings(view.width, view.height, sh_degree=1)
            seen = kernels.render(dict(splats.named()), view, torch.zeros(3), settings)
            total += loss_of(seen.image, scene.images[index], None, 0.2).squared_error
        return total

    first, second = trained(StraightThrough(few_values)), trained(StraightThrough(few_values))
    assert error(few_values(first)) < 0.8 * error(few_values(tiny.true_splats()))
    assert error(few_values(first)) < 0.8 * error(few_values(trained(None)))
    assert all(torch.equal(a, b) for (_, a), (_, b) in zip(first.named(), second.named(), strict=True))
