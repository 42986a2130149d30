# SPDX-License-Identifier: Apache-2.0
"""Rendering without gradients."""

from __future__ import annotations

import pytest
import torch

from sparse3d.errors import UsageError
from sparse3d.render import RenderOptions, background_tensor, render, render_many
from tests.train import tiny


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_batches_give_the_same_pictures_as_single_views(backend: str):
    splats, cameras = tiny.true_splats(), tiny.cameras()[:4]
    cameras.insert(2, cameras[0].resized(40, 30))
    options = RenderOptions(background="white", depth=True, backend=backend)
    batched = list(render_many(splats, cameras, options, batch=3))
    assert [tuple(r.image.shape) for r in batched] == [(64, 64, 3)] * 2 + [(30, 40, 3)] + [(64, 64, 3)] * 2
    for camera, got in zip(cameras, batched):
        single = render(splats, camera, options)
        assert torch.equal(got.image, single.image)
        assert not got.image.requires_grad
        assert got.image.std() > 0.05
        # White where nothing is, and depth between the nearest and the farthest splat.
        assert torch.allclose(got.image[got.alpha == 0], torch.ones(3))
        seen = got.alpha > 0.5
        assert seen.any()
        assert 1.5 < float(got.depth[seen].min()) <= float(got.depth[seen].max()) < 5
        assert bool((got.median_depth[seen] > 0).all())


def test_back_ends_agree():
    splats, camera = tiny.true_splats(), tiny.cameras()[0]
    a, b = (render(splats, camera, RenderOptions(backend=name)).image for name in ("cpu", "reference"))
    assert (a - b).abs().mean() < 1e-5


def test_a_lower_degree_is_another_picture():
    splats, camera = tiny.true_splats(), tiny.cameras()[0]
    full, base = (render(splats, camera, RenderOptions(sh_degree=degree)).image for degree in (None, 0))
    assert (full - base).abs().max() > 1e-3


def test_backgrounds_by_name_and_value():
    assert background_tensor((0.25, 0.5, 1)).tolist() == [0.25, 0.5, 1.0]
    with pytest.raises(UsageError, match="unknown background 'blue'"):
        background_tensor("blue")
