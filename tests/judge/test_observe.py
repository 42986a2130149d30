# SPDX-License-Identifier: Apache-2.0
"""What a camera sees of each splat, against pictures rendered with and without it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from sparse3d.judge.observe import centre_in_picture, depths_in, footprint_sums, look, removal_costs, spreads_in
from sparse3d.judge.photos import JudgingPhotos, PhotoView
from sparse3d.judge.pictures import Pictures
from sparse3d.kernels import cpu
from sparse3d.records.scene import Scene
from sparse3d.render.probe import Seeing
from sparse3d.splats import Splats
from tests.train import tiny


def photo_of(scene: Scene, index: int) -> PhotoView:
    return PhotoView(scene.cameras[index], scene.images[index], None, torch.zeros(3))


def error(splats: Splats, photo: PhotoView) -> float:
    image = look(splats, photo.camera, Seeing(photo.background)).image[0].double()
    return float(((image - photo.image.double()) ** 2).sum())


def test_footprints_sum_a_map_with_the_blending_weights(tiny_scene: Scene):
    splats, camera = tiny.true_splats(), tiny_scene.cameras[0]
    seen = look(splats, camera, Seeing(stats=True))
    sides = torch.zeros(2, 64, 64)
    sides[0, :, :32], sides[1, :, 32:] = 1.0, 1.0
    ones = torch.ones(64, 64)
    maps = torch.stack([ones, sides[0], sides[1], 3.0 * ones])
    whole, left, right, thrice = footprint_sums(splats, camera, maps)
    assert torch.allclose(whole, seen.weight_sum[0], rtol=1e-3, atol=1e-3)
    assert torch.allclose(left + right, whole, rtol=1e-3, atol=1e-3)
    assert torch.allclose(thrice, 3.0 * whole, rtol=1e-3, atol=1e-3)
    x = seen.means2d[0, :, 0]
    inside = seen.radii[0] > 0
    assert (left[inside & (x < 16)] > right[inside & (x < 16)]).all()


def test_removal_costs_are_those_of_removing(tiny_scene: Scene):
    """Against renderings without the splat; with many probes, what is estimated is exact to a few percent."""
    splats = tiny.initial()
    photo = photo_of(tiny_scene, 0)
    linear, square = removal_costs(splats, photo, probes=200)
    before = error(splats, photo)
    costs, true = [], []
    for row in range(0, splats.num_splats, 6):
        keep = torch.ones(splats.num_splats, dtype=torch.bool)
        keep[row] = False
        true.append(error(splats.select(keep), photo) - before)
        costs.append(float(linear[row] + square[row]))
    assert np.std(true) > 0.1, "the splats matter"
    assert np.allclose(costs, true, atol=0.05 * np.abs(true).max())
    assert np.corrcoef(costs, true)[0, 1] > 0.99


def test_removal_costs_leave_out_masked_pixels(tiny_scene: Scene):
    photo = photo_of(tiny_scene, 0)
    linear, square = removal_costs(tiny.initial(), replace(photo, mask=torch.zeros(64, 64)))
    assert not linear.any()
    assert not square.any()


def test_depths_and_spreads_are_those_of_the_camera(tiny_scene: Scene):
    splats, camera = tiny.true_splats(), tiny_scene.cameras[3]
    points = splats.means.double().numpy()
    xy, z = camera.project(points)
    assert np.allclose(depths_in(splats, camera).numpy(), z, atol=1e-5)
    # Along an axis of a splat turned to the camera the spread is that axis' scale.
    turned = replace(
        splats, quats_wxyz=torch.tensor([[1.0, 0.0, 0.0, 0.0]]).repeat(150, 1),
        log_scales=torch.log(torch.tensor([[1.0, 2.0, 3.0]])).repeat(150, 1),
    )  # fmt: skip
    for axis, scale in enumerate((1.0, 2.0, 3.0)):
        pose = np.eye(4)[[*{0, 1, 2} - {axis}, axis, 3]]
        assert torch.allclose(spreads_in(turned, replace(camera, cam_from_world=pose)), torch.tensor(scale))
    seen = look(splats, camera, Seeing())
    inside = (xy >= 0).all(1) & (xy <= 64).all(1)
    assert inside.sum() > 100
    assert (centre_in_picture(seen, camera).numpy() == inside).mean() > 0.95


def test_judging_photos_are_spread_and_reduced(tiny_scene: Scene):
    pictures = Pictures(tiny_scene)
    photos = JudgingPhotos(pictures, torch.zeros(3), scale=2, most=3, depths={0: tiny.depth_maps(tiny_scene)[0]})
    assert photos.positions == (0, 4, 7)
    assert len(list(photos)) == len(photos) == 3
    assert photos[1].image.shape == (32, 32, 3)
    assert photos[1].dense is None
    dense = photos[0].dense
    assert dense is not None
    assert dense.depth.shape == dense.confidence.shape == (32, 32)
    assert 2.0 < float(dense.depth[16, 16]) < 4.0
    assert JudgingPhotos(pictures, torch.zeros(3)).positions == tuple(range(8))


@pytest.mark.parametrize("threads", [1, 3])
def test_the_same_bits_on_any_number_of_threads(tiny_scene: Scene, threads: int):
    splats, photo = tiny.true_splats(), photo_of(tiny_scene, 0)
    results = []
    for count in (2, threads):
        cpu.set_threads(count)
        results.append(
            (*removal_costs(splats, photo), footprint_sums(splats, photo.camera, photo.image.permute(2, 0, 1)))
        )
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
