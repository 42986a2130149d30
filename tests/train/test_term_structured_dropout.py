# SPDX-License-Identifier: Apache-2.0
"""Dropout of neighbourhoods and of view-dependent colour."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from sparse3d.kernels.workspace import AdamState
from sparse3d.scene.records import Scene
from sparse3d.train.terms.config import TermsConfig
from sparse3d.train.terms.opacity import DROPPED_LOGIT
from sparse3d.train.terms.structured_dropout import AnchorDropout, ShDropout
from sparse3d.train.terms.term import TermSetup, TermStep
from sparse3d.train.views import view_of
from tests.train import tiny


def setup_of(scene: Scene, **values: Any) -> TermSetup:
    return TermSetup(TermsConfig(**values), scene, 100, 1.0, torch.Generator().manual_seed(3), tiny.initial().means)


def step_at(progress: float) -> TermStep:
    view = view_of(tiny.cameras()[0])
    target = torch.zeros(view.height, view.width, 3)
    return TermStep(int(progress * 100) + 1, progress, 0, view, target, None, {})


def test_anchors_go_with_their_neighbours(tiny_scene: Scene):
    """On a line of splats, what is left out are whole runs around anchors."""
    setup = setup_of(tiny_scene, anchor_dropout=0.05, anchor_neighbours=4)
    term = AnchorDropout(setup)
    params = {name: tensor.clone() for name, tensor in tiny.initial(400).named()}
    params["means"] = torch.stack([torch.arange(400.0), torch.zeros(400), torch.zeros(400)], dim=1)
    adam = AdamState.zeros(params)
    shares = []
    for _ in range(40):
        shown = dict(params)
        term.before_render(step_at(0.5), params, adam, shown)
        out = shown["logit_opacities"]
        dropped = (out == DROPPED_LOGIT).numpy()
        shares.append(dropped.mean())
        runs = np.diff(np.flatnonzero(np.diff(np.concatenate([[0], dropped.view(np.int8), [0]])))[::1])[::2]
        assert np.all(runs >= 4), "a run shorter than an anchor with its neighbours, at the line's end one less"
        kept = torch.sigmoid(out[torch.from_numpy(~dropped)].double())
        before = torch.sigmoid(params["logit_opacities"][torch.from_numpy(~dropped)].double())
        assert torch.allclose(kept, before / (1 - dropped.mean()), rtol=1e-4)
    # An anchor in 40, and each splat is in the group of five of them.
    assert np.mean(shares) == pytest.approx(1 - (1 - 0.025) ** 5, rel=0.15)
    shown = dict(params)
    term.before_render(step_at(0.0), params, adam, shown)
    assert shown["logit_opacities"] is params["logit_opacities"]


def test_neighbours_are_found_anew_after_a_change_and_kept_in_between(tiny_scene: Scene):
    term = AnchorDropout(setup_of(tiny_scene, anchor_dropout=0.5, anchor_neighbours=3))
    params = {name: tensor.clone() for name, tensor in tiny.initial().named()}
    adam = AdamState.zeros(params)
    term.before_render(step_at(0.5), params, adam, dict(params))
    first = term.tensors()["anchor_dropout.neighbours"].clone()
    distance = torch.cdist(params["means"], params["means"]).fill_diagonal_(torch.inf)
    assert torch.equal(first.sort(dim=1).values, distance.topk(3, largest=False).indices.sort(dim=1).values)
    params["means"] = params["means"].flip(0).contiguous()
    term.before_render(step_at(0.5), params, adam, dict(params))
    assert torch.equal(term.tensors()["anchor_dropout.neighbours"], first)
    other = AnchorDropout(term.setup)
    other.restore(term.tensors())
    assert torch.equal(other.tensors()["anchor_dropout.neighbours"], first)
    term.after_refine(params)
    assert term.tensors() == {}
    term.before_render(step_at(0.5), params, adam, dict(params))
    assert not torch.equal(term.tensors()["anchor_dropout.neighbours"], first)


@pytest.mark.parametrize(("progress", "degree"), [(0.0, 0), (0.39, 0), (0.4, 1), (0.6, 2), (0.99, 2)])
def test_higher_degrees_are_left_out_and_put_back(tiny_scene: Scene, progress: float, degree: int):
    term = ShDropout(setup_of(tiny_scene, sh_dropout=0.3))
    params = {name: tensor.clone() for name, tensor in tiny.initial(1000).named()}
    params["shN"] = torch.randn(1000, 15, 3, generator=torch.Generator().manual_seed(0))
    adam = AdamState.zeros(params)
    adam.m["shN"] += 1.0
    before = params["shN"].clone()
    shown = dict(params)
    term.before_render(step_at(progress), params, adam, shown)
    first = (degree + 1) ** 2 - 1
    gone = (shown["shN"][:, first:] == 0).all(dim=(1, 2))
    assert float(gone.float().mean()) == pytest.approx(0.3, abs=0.05)
    assert torch.equal(shown["shN"][:, :first], before[:, :first])
    assert torch.equal(shown["shN"][~gone], before[~gone])
    # The optimiser changes everything; only what was shown keeps the change.
    params["shN"] += 5.0
    adam.m["shN"] += 5.0
    term.after_step(step_at(progress), params, adam)
    assert torch.equal(params["shN"][gone][:, first:], before[gone][:, first:])
    assert torch.equal(adam.m["shN"][gone][:, first:], torch.ones_like(before[gone][:, first:]))
    assert torch.equal(params["shN"][gone][:, :first], before[gone][:, :first] + 5.0)
    assert torch.equal(params["shN"][~gone], before[~gone] + 5.0)


def test_no_view_dependent_colour_is_no_error(tiny_scene: Scene):
    term = ShDropout(setup_of(tiny_scene, sh_dropout=0.3))
    params = {name: tensor.clone() for name, tensor in tiny.initial().named()}
    params["shN"] = torch.zeros(len(params["means"]), 0, 3)
    adam = AdamState.zeros(params)
    term.before_render(step_at(0.5), params, adam, dict(params))
    term.after_step(step_at(0.5), params, adam)
    assert params["shN"].shape == (len(params["means"]), 0, 3)
