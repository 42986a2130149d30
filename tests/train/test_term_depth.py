# SPDX-License-Identifier: Apache-2.0
"""Depth maps in training: gradients against autograd in float64, resampling, and what it does to a scene."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from sparse3d.depth.depth_map import DepthMap
from sparse3d.kernels.records import OutputGradients, view_of
from sparse3d.records.scene import Scene
from sparse3d.splats import Splats
from sparse3d.train.config import DensityConfig, ScheduleConfig, TrainConfig
from sparse3d.train.splats.terms.config import TermsConfig
from sparse3d.train.splats.terms.depth import resampled
from sparse3d.train.splats.terms.expected_depth import one_in_four
from sparse3d.train.splats.terms.normal import normals_of, rays
from sparse3d.train.splats.terms.table import TERMS
from sparse3d.train.splats.terms.term import TermSetup
from tests.train import tiny
from tests.train.tiny import train

WIDTH, HEIGHT = 26, 18


class Seen(NamedTuple):
    image: Tensor
    alpha: Tensor
    depth: Tensor


def depth_map(seed: int, width: int = WIDTH, height: int = HEIGHT) -> DepthMap:
    """Noisy depths near 3, a third of them unknown, with confidences and any normals."""
    rng = np.random.default_rng(seed)
    known = rng.random((height, width)) > 0.3
    normal = rng.normal(size=(height, width, 3))
    normal /= np.linalg.norm(normal, axis=2, keepdims=True)
    return DepthMap(
        tiny.cameras()[0].resized(width, height),
        (rng.uniform(2.0, 4.0, (height, width)) * known).astype(np.float32),
        (rng.random((height, width)) * known).astype(np.float32),
        (normal * known[..., None]).astype(np.float32),
    )


def rendering(seed: int) -> Seen:
    generator = torch.Generator().manual_seed(seed)
    alpha = 0.4 + 0.6 * torch.rand(HEIGHT, WIDTH, generator=generator)
    z = 2.95 + 0.1 * torch.rand(HEIGHT, WIDTH, generator=generator)
    return Seen(torch.zeros(HEIGHT, WIDTH, 3), alpha, alpha * z)


def metric_loss(z: Tensor, weight: Tensor, every: tuple[slice, slice], found: DepthMap) -> Tensor:
    d = torch.from_numpy(found.depth).double()
    error = torch.where(weight > 0, (z - d) / torch.where(d > 0, d, 1.0), 0.0).abs()
    huber = torch.where(error < 0.01, error**2 / 0.02, error - 0.005)
    return (weight * seen_by(0) * huber).sum() / (weight > 0).sum()


def pearson_loss(z: Tensor, weight: Tensor, every: tuple[slice, slice], found: DepthMap) -> Tensor:
    chosen = torch.zeros(HEIGHT, WIDTH)
    chosen[every] = 1.0
    weight = weight * seen_by(0) * chosen
    used = weight > 0
    w = weight[used] / weight[used].sum()
    x, y = 1 / z[used], 1 / torch.from_numpy(found.depth).double()[used]
    x, y = x - (w * x).sum(), y - (w * y).sum()
    return 1 - (w * x * y).sum() / torch.sqrt((w * x * x).sum() * (w * y * y).sum())


def normal_loss(z: Tensor, weight: Tensor, every: tuple[slice, slice], found: DepthMap) -> Tensor:
    points = rays(view_of(found.camera)).double() * z
    across = points[:, 1:-1, 2:] - points[:, 1:-1, :-2]
    down = points[:, 2:, 1:-1] - points[:, :-2, 1:-1]
    normal = torch.nn.functional.normalize(torch.linalg.cross(down, across, dim=0), dim=0)
    cosine = (normal * torch.from_numpy(found.normal).double().permute(2, 0, 1)[:, 1:-1, 1:-1]).sum(0)
    seen = seen_by(0)
    whole = seen[1:-1, 1:-1] * seen[1:-1, 2:] * seen[1:-1, :-2] * seen[2:, 1:-1] * seen[:-2, 1:-1]
    weight = weight[1:-1, 1:-1]
    return (weight * whole * (1 - cosine))[every].sum() / (weight[every] > 0).sum()


def seen_by(seed: int) -> Tensor:
    """1 where `rendering` shows enough to have a depth."""
    return (rendering(seed).alpha > 0.5).double()


LOSSES = {"depth": metric_loss, "depth_pearson": pearson_loss, "normal": normal_loss}


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", list(LOSSES))
def test_gradients_are_those_of_autograd(tiny_scene: Scene, name: str, masked: bool):
    found, seen = depth_map(1), rendering(0)
    mask = None
    if masked:
        mask = torch.zeros(HEIGHT, WIDTH)
        mask[:, :19] = 1.0
    cfg = replace(TermsConfig(depth_final=0.25), **{name: 0.5})
    index = tiny_scene.train[2]
    setup = TermSetup(cfg, tiny_scene, 100, torch.Generator().manual_seed(9), {index: found})
    term = TERMS[name](setup)
    assert term.needs_depth(2)
    assert not term.needs_depth(1), "no map of this photo"
    relative = TERMS[name](replace(setup, depth_maps={index: replace(found, metric=False)}))
    assert relative.needs_depth(2) == (name == "depth_pearson")
    view = view_of(found.camera)
    before = torch.full((HEIGHT, WIDTH), 1e-3)
    gradients = OutputGradients(alpha=before)
    every = one_in_four(torch.Generator().manual_seed(9))
    term.add_gradients(tiny.shot(view, progress=0.5, position=2, mask=mask), seen, gradients)
    assert gradients.image is None
    assert gradients.alpha is not None
    assert gradients.depth is not None
    assert torch.all(before == 1e-3), "what was there was changed in place"

    alpha, depth = seen.alpha.double().requires_grad_(), seen.depth.double().requires_grad_()
    weight = torch.from_numpy(found.confidence).double() * (1.0 if mask is None else mask.double())
    # Half of the run: half of the decay to a quarter.
    loss = 0.5 * 0.5 * LOSSES[name](depth / alpha, weight, every, found)
    v_alpha, v_depth = torch.autograd.grad(loss, (alpha, depth))
    unseen = seen.alpha <= 0.5
    scale = float(v_depth[~unseen].abs().max())
    assert scale > 0
    for have, want in ((gradients.alpha.double() - before.double(), v_alpha), (gradients.depth.double(), v_depth)):
        assert torch.allclose(have[~unseen], want[~unseen], atol=1e-4 * scale)
        assert torch.all(have[unseen] == 0)


def test_resampling_takes_the_nearest_pixel_and_multiplies_masks():
    found = depth_map(2, 26, 18)
    half = resampled(found, 13, 9, None)
    # The centre of a pixel of half size lies on a corner: the pixel right below it is taken.
    assert torch.equal(half.depth, torch.from_numpy(found.depth[1::2, 1::2]))
    assert torch.equal(half.normal, torch.from_numpy(found.normal[1::2, 1::2]))
    double = resampled(found, 52, 36, torch.zeros(36, 52))
    assert torch.equal(double.depth[1::2, ::2], torch.from_numpy(found.depth))
    assert double.known == 0
    same = resampled(found, 26, 18, None)
    assert torch.equal(same.weight, torch.from_numpy(found.confidence))
    odd = resampled(found, 7, 5, None)
    assert torch.equal(odd.depth[2], torch.from_numpy(found.depth[9, [1, 5, 9, 13, 16, 20, 24]]))


def test_normals_of_a_plane_face_the_camera():
    view = view_of(tiny.cameras()[0])
    plane = torch.tensor([0.3, -0.2, -0.9]) / torch.tensor([0.3, -0.2, -0.9]).norm()
    ray = rays(view)
    points = ray * (-3.0 / (ray * plane[:, None, None]).sum(0))
    normal = normals_of(points)[2]
    assert torch.allclose(normal, plane[:, None, None].expand_as(normal), atol=1e-4)


def errors(splats: Splats, scene: Scene) -> dict[str, float]:
    """Over what the true splats cover: mean relative depth error, 1 - correlation of inverse depths, and mean
    1 - cosine of normals; means over the photos."""
    rows = []
    for index in scene.train:
        z, alpha, normal = tiny.depth_of(tiny.true_splats(), scene, index)
        other_z, other_alpha, other_normal = tiny.depth_of(splats, scene, index)
        both = (alpha > 0.9) & (other_alpha > 0.5)
        relative = float(((other_z - z).abs() / z)[both].mean())
        correlation = float(np.corrcoef(1 / other_z[both], 1 / z[both])[0, 1])
        angle = float(1 - (normal * other_normal).sum(0)[both[1:-1, 1:-1]].mean())
        rows.append((relative, 1 - correlation, angle))
    return dict(zip(("depth", "depth_pearson", "normal"), np.mean(rows, axis=0).tolist()))


def trained(scene: Scene, maps: dict[int, DepthMap], **terms: Any) -> Splats:
    cfg = TrainConfig(
        steps=120, sh_degree=1, threads=1, schedule=ScheduleConfig(half_size_until=0.2, min_side_px=16),
        density=DensityConfig(policy="fixed"), terms=TermsConfig(**terms),
    )  # fmt: skip
    running = train(scene, tiny.initial(300), cfg, None, depth_maps=maps)
    while True:
        try:
            next(running)
        except StopIteration as end:
            return end.value


def test_depth_maps_bring_depths_and_normals_nearer(tiny_scene: Scene):
    few = replace(tiny_scene, train=tiny_scene.train[:3])
    maps = tiny.depth_maps(few)
    plain = errors(trained(few, {}), few)
    for name, weight in {"depth": 1.0, "depth_pearson": 0.1, "normal": 0.1}.items():
        assert errors(trained(few, maps, **{name: weight}), few)[name] < 0.8 * plain[name], name


def test_without_maps_the_weights_change_nothing(tiny_scene: Scene):
    a, b = trained(tiny_scene, {}), trained(tiny_scene, {}, depth=1.0, depth_pearson=1.0, normal=1.0)
    assert all(torch.equal(left, right) for (_, left), (_, right) in zip(a.named(), b.named(), strict=True))
