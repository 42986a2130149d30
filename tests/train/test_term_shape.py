# SPDX-License-Identifier: Apache-2.0
"""Terms on the shape of splats and on what neighbours share."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sparse3d.kernels.workspace import AdamState
from sparse3d.scene.records import Scene
from sparse3d.train.terms.config import TermsConfig
from sparse3d.train.terms.feature_smooth import FeatureSmoothness
from sparse3d.train.terms.shape import EffectiveRank, MaxAxisRatio, MinScale, rank_pull
from sparse3d.train.terms.term import TermSetup, TermStep
from sparse3d.train.views import view_of
from tests.train import tiny

Params = dict[str, Tensor]


def setup_of(scene: Scene, **values: Any) -> TermSetup:
    return TermSetup(TermsConfig(**values), scene, 100, 1.0, torch.Generator(), tiny.initial().means)


def step_of(number: int = 10, progress: float = 0.0) -> TermStep:
    view = view_of(tiny.cameras()[0])
    target = torch.zeros(view.height, view.width, 3)
    return TermStep(number, progress, 0, view, target, None, {"log_scales": 0.01})


def parameters() -> tuple[Params, AdamState]:
    params = {name: tensor.clone() for name, tensor in tiny.true_splats().named()}
    return params, AdamState.zeros(params)


def rank_of(log_scales: Tensor) -> Tensor:
    share = torch.softmax(2 * log_scales, dim=1)
    return torch.exp(-(share * share.log()).sum(1))


def test_the_pull_on_needles_is_the_gradient_of_their_rank():
    log_scales = torch.randn(200, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 0.8
    log_scales[:3] = torch.log(torch.tensor([[1, 0.01, 0.01], [1, 1, 0.01], [1, 1, 1.0]]))
    leaf = log_scales.clone().requires_grad_()
    rank = rank_of(leaf)
    loss = torch.where(rank < 1.99, -torch.log(rank - 1 + 0.01), 0.0).sum()
    (wanted,) = torch.autograd.grad(loss, leaf)
    found = torch.from_numpy(rank_pull(log_scales.float().numpy())).double()
    needle = rank.detach() < 1.99
    assert 50 < int(needle.sum()) < 200
    assert torch.allclose(found, wanted, rtol=2e-3, atol=2e-3)
    assert torch.all(found[~needle] == 0)
    assert torch.all(torch.isfinite(torch.from_numpy(rank_pull(np.array([[40, -40, -40]], np.float32)))))


def test_needles_become_discs_and_discs_stay(tiny_scene: Scene):
    params, adam = parameters()
    params["log_scales"] = torch.log(torch.tensor([[0.5, 0.05, 0.05], [0.3, 0.3, 0.01]])).contiguous()
    disc = params["log_scales"][1].clone()
    term = EffectiveRank(setup_of(tiny_scene, rank=1.0))
    before = rank_of(params["log_scales"])[0]
    for number in range(1, 101):
        term.after_step(step_of(number), params, adam)
    assert torch.equal(params["log_scales"][1], disc)
    assert before < 1.2
    assert 1.5 < rank_of(params["log_scales"])[0] < 2.2


def test_the_longest_axis_is_cut_and_thin_discs_are_not(tiny_scene: Scene):
    params, adam = parameters()
    scales = torch.tensor([[0.5, 0.05, 0.01], [0.01, 0.5, 0.4], [0.01, 0.02, 0.3], [0.3, 0.3, 0.3]])
    params["log_scales"] = scales.log()
    MaxAxisRatio(setup_of(tiny_scene, max_axis_ratio=4.0)).after_step(step_of(), params, adam)
    wanted = torch.tensor([[0.2, 0.05, 0.01], [0.01, 0.5, 0.4], [0.01, 0.02, 0.08], [0.3, 0.3, 0.3]])
    assert torch.allclose(params["log_scales"].exp(), wanted, rtol=1e-5)


def test_no_axis_is_finer_than_the_photos(tiny_scene: Scene):
    """The limit comes from the nearest camera that sees the splat, and holds until the set changes."""
    one = replace(tiny_scene, train=(0, 5))
    term = MinScale(setup_of(one, min_scale=0.5))
    params, adam = parameters()
    camera = tiny_scene.cameras[0]
    # One splat nearer to the first of two cameras, one that neither sees.
    params["means"][0] = torch.from_numpy(camera.position * 0.5).float()
    params["means"][1] = torch.from_numpy(camera.position + np.array([0, 50.0, 0])).float()
    params["log_scales"].fill_(-20.0)
    term.after_step(step_of(), params, adam)
    z = min(tiny_scene.cameras[i].project(params["means"][:1].double().numpy())[1][0] for i in one.train)
    assert torch.allclose(params["log_scales"][0], torch.full((3,), math.log(0.5 * z / camera.fx)), atol=1e-5)
    assert torch.all(params["log_scales"][1] == -20.0)
    kept = term.tensors()["min_scale.least"].clone()
    large = params["log_scales"].clone().fill_(3.0)
    params["log_scales"].copy_(large)
    params["means"] *= 1.2
    term.after_step(step_of(), params, adam)
    assert torch.equal(params["log_scales"], large)
    assert torch.equal(term.tensors()["min_scale.least"], kept)
    other = MinScale(term.setup)
    other.restore(term.tensors())
    assert torch.equal(other.tensors()["min_scale.least"], kept)
    term.after_refine(params)
    assert term.tensors() == {}
    term.after_step(step_of(), params, adam)
    assert not torch.equal(term.tensors()["min_scale.least"], kept)


def test_colours_and_opacities_move_towards_their_neighbours(tiny_scene: Scene):
    term = FeatureSmoothness(setup_of(tiny_scene, feature_smooth=0.4))
    params, adam = parameters()
    before = {name: tensor.clone() for name, tensor in params.items()}
    term.after_step(step_of(9), params, adam)
    assert all(torch.equal(params[name], before[name]) for name in params)
    term.after_step(step_of(10, progress=0.5), params, adam)
    rows = torch.cdist(before["means"], before["means"]).fill_diagonal_(torch.inf).topk(4, largest=False).indices
    for name in params:
        wanted = before[name]
        if name in ("sh0", "logit_opacities"):
            wanted = wanted + 0.2 * (before[name][rows].mean(1) - wanted)
        assert torch.allclose(params[name], wanted, atol=1e-5), name
    kept = term.tensors()
    assert list(kept) == ["feature_smooth.neighbours"]
    term.after_refine(params)
    assert term.tensors() == {}
    term.restore(kept)
    assert term.tensors() == kept


@pytest.mark.parametrize("name", ["rank", "max_axis_ratio", "min_scale"])
def test_shapes_only_change(tiny_scene: Scene, name: str):
    values: dict[str, Any] = {name: 1.5}
    term = {"rank": EffectiveRank, "max_axis_ratio": MaxAxisRatio, "min_scale": MinScale}[name](
        setup_of(tiny_scene, **values)
    )
    params, adam = parameters()
    before = {key: tensor.clone() for key, tensor in params.items()}
    term.after_step(step_of(), params, adam)
    changed = [key for key in params if not torch.equal(params[key], before[key])]
    assert changed == ["log_scales"]
