# SPDX-License-Identifier: Apache-2.0
"""Moved, turned and recoloured splats look as the moved, turned and recoloured scene."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from sparse3d.camera import Camera
from sparse3d.edit import Document, apply
from sparse3d.edit.transform import applied, compose, fading, identity, motion, recolouring
from sparse3d.formulas.harmonics import sh_basis
from sparse3d.formulas.turned_harmonics import band_rotations
from sparse3d.geometry.quaternions import rotation_from_unit_quats
from sparse3d.render import render
from tests.edit.clouds import before_it, cloud, same_bits

QUAT = (0.8, 0.2, -0.5, 0.3)


def _rotation() -> np.ndarray:
    quat = np.array(QUAT)
    return rotation_from_unit_quats(quat / np.linalg.norm(quat))


def test_turned_harmonics_give_the_turned_colours() -> None:
    rng = np.random.default_rng(3)
    directions = rng.normal(size=(50, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    coefficients = rng.normal(size=24)
    bands = band_rotations(_rotation(), 4)
    turned = np.concatenate([m @ coefficients[o * o - 1 : (o + 1) ** 2 - 1] for o, m in enumerate(bands, 1)])
    before = sh_basis(torch.from_numpy(directions @ _rotation()), 4).numpy()[:, 1:] @ coefficients
    after = sh_basis(torch.from_numpy(directions), 4).numpy()[:, 1:] @ turned
    np.testing.assert_allclose(after, before, atol=1e-12)


@pytest.mark.parametrize("degree", [0, 3])
def test_a_moved_scene_looks_the_same_to_a_camera_that_moved_along(degree: int) -> None:
    splats, camera = cloud(60, degree=degree), before_it()
    row = motion(quat_wxyz=QUAT, factor=2.0, center=(0.3, 0.1, -0.2), shift=(1.0, -2.0, 0.5))
    moved = applied(splats, row[None], np.zeros(60, int))
    # new = 2 R old + shift, so the camera's frame, doubled: 2 R_c old + 2 t_c = R_c R^T (new - shift) + 2 t_c.
    pose = np.eye(4)
    pose[:3, :3] = camera.cam_from_world[:3, :3] @ _rotation().T
    pose[:3, 3] = 2 * camera.cam_from_world[:3, 3] - pose[:3, :3] @ row[17:20]
    along = Camera(camera.width, camera.height, camera.fx, camera.fy, camera.cx, camera.cy, pose)
    first, second = render(splats, camera).image, render(moved, along).image
    assert first.max() > 0.3
    assert (first - second).abs().max() < 2e-4


def test_a_recoloured_scene_is_the_recoloured_picture() -> None:
    splats, camera = cloud(60), before_it()
    splats.sh0[:] = splats.sh0 * 0.3  # Colours stay above 0, where rendering clips them.
    matrix = np.array([[0.5, 0.2, 0.1], [0.1, 0.7, 0.0], [0.0, 0.3, 0.6]])
    offset = np.array([0.05, 0.1, 0.0])
    after = applied(splats, recolouring(matrix, offset)[None], np.zeros(60, int))
    first, second = render(splats, camera), render(after, camera)
    expected = first.image.numpy() @ matrix.T + first.alpha.numpy()[..., None] * offset
    np.testing.assert_allclose(second.image.numpy(), expected, atol=2e-6)


def test_steps_compose_to_what_they_do_one_by_one() -> None:
    rows = [
        motion(quat_wxyz=QUAT, center=(1, 2, 3)), recolouring(np.diag([0.5, 1, 2]), np.array([0.1, 0, 0])), fading(0.5),
        motion(factor=3.0, shift=(1, 0, 0)), recolouring(np.full((3, 3), 0.3), np.zeros(3)), fading(4.0, 0.1, 0.9),
    ]  # fmt: skip
    splats, total = cloud(40), identity()[None]
    one_by_one = splats
    for row in rows:
        one_by_one = applied(one_by_one, row[None], np.zeros(40, int))
        total = compose(row, total)
    at_once = applied(splats, total, np.zeros(40, int))
    for name, tensor in at_once.named():
        assert torch.allclose(tensor, getattr(one_by_one, name), atol=2e-5), name


def test_a_splat_alone_gets_the_bits_that_it_gets_among_others() -> None:
    splats = cloud(50, degree=3)
    rows = np.stack([identity(), motion(quat_wxyz=QUAT, factor=0.7), recolouring(np.full((3, 3), 0.4), np.ones(3))])
    rows = np.concatenate([rows, fading(0.3)[None], compose(rows[1], rows[2:])])
    of = np.arange(50) % 5
    together = applied(splats, rows, of)
    for number in range(50):
        alone = applied(splats.select(torch.tensor([number])), rows[of[number]][None], np.zeros(1, int))
        assert same_bits(alone, together.select(torch.tensor([number])))
    assert same_bits(together.select(torch.from_numpy(of == 0)), splats.select(torch.from_numpy(of == 0)))


def test_ground_lays_three_points_flat_with_the_scene_above() -> None:
    splats = cloud(100)
    up = np.array([0.1, -0.9, 0.3])
    up /= np.linalg.norm(up)
    side = np.cross(up, [1, 0, 0])
    floor = np.array([-2 * up + side, -2 * up - side, -2 * up + np.cross(up, side)])
    splats = replace(splats, means=torch.cat([torch.from_numpy(floor).float(), splats.means[3:]]))
    for name, axis, sign in (("+z", 2, 1), ("-y", 1, -1), ("+x", 0, 1)):
        document = Document(splats)
        apply(document, {"op": "ground", "points": floor.tolist(), "up": name})
        means = document.splats().means.numpy() * sign
        np.testing.assert_allclose(means[:3, axis], 0, atol=1e-6)
        np.testing.assert_allclose(means[:3].sum(axis=0), 0, atol=2e-6)
        assert np.median(means[3:, axis]) > 1
        gaps = np.linalg.norm(means[3:] - means[2:-1], axis=1)
        np.testing.assert_allclose(gaps, np.linalg.norm(np.diff(splats.means.numpy()[2:], axis=0), axis=1), atol=1e-5)
