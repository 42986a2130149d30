# SPDX-License-Identifier: Apache-2.0
"""Normals and masks of the user's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sparse3d.camera import Camera
from sparse3d.depth.priors.arrays import read_normals
from sparse3d.depth.priors.config import PriorConfig
from sparse3d.depth.priors.load import load_priors
from sparse3d.errors import DataError
from sparse3d.load import SceneConfig, load_scene
from sparse3d.records.scene import Scene
from tests.depth.plane_scene import NORMAL, cameras_on_arc, write_scene
from tests.load import makers


def plane_normal(camera: Camera) -> np.ndarray:
    """[3] of the plane in the camera's frame, turned to the camera."""
    return -(camera.cam_from_world[:3, :3] @ NORMAL)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    (tmp_path / "photos").mkdir()
    return write_scene(tmp_path / "photos", cameras_on_arc(3), train=(0, 2))


@pytest.mark.parametrize("axes", ["opencv", "opengl"])
def test_normals_of_npy_files_in_either_axes(scene: Scene, tmp_path: Path, axes: str) -> None:
    folder = tmp_path / "normals"
    folder.mkdir()
    flip = np.array([1, -1, -1]) if axes == "opengl" else np.ones(3)
    for i in scene.train:
        field = np.tile(plane_normal(scene.cameras[i]) * flip, (120, 160, 1))
        field[:5] = 0.0
        # Networks write channels first.
        np.save(folder / f"view_{i:02d}_normal.npy", np.moveaxis(field, 2, 0)[None] if i == 2 else field)
    cfg = PriorConfig(prior_normals=folder, prior_normals_axes="opengl" if axes == "opengl" else "opencv")
    priors = load_priors(scene, cfg)
    assert sorted(priors.normals) == [0, 2]
    for i in scene.train:
        found = priors.normals[i]
        assert (found.camera.width, found.camera.height) == (160, 120)
        assert np.allclose(found.normal[5:], plane_normal(scene.cameras[i]), atol=1e-6)
        assert not found.normal[:5].any()
    wrong = PriorConfig(prior_normals=folder, prior_normals_axes="opencv" if axes == "opengl" else "opengl")
    with pytest.raises(DataError, match=f"100 % of the normals point away .*--prior-normals-axes {axes}"):
        load_priors(scene, wrong)


def test_normals_of_pictures_join_the_depth_of_the_same_photo(scene: Scene, tmp_path: Path) -> None:
    folder = tmp_path / "maps"
    folder.mkdir()
    normal = plane_normal(scene.cameras[0])
    pixels = np.tile(np.rint((normal + 1) * 127.5).astype(np.uint8), (240, 320, 1))
    pixels[:, :10] = 0
    Image.fromarray(pixels).save(folder / "view_00_normal.png")
    np.save(folder / "view_00.npy", np.full((60, 80), 3.0))
    cfg = PriorConfig(prior_depth=folder, prior_depth_kind="metric", prior_normals=folder)
    priors = load_priors(scene, cfg)
    found = priors.depth_maps[0]
    assert found.normal.shape == (60, 80, 3)
    assert np.abs(found.normal[:, 4:] - normal).max() < 0.01
    assert not found.normal[:, :2].any()
    assert "1 of 2 training photos have no map" in priors.notes[0]


def test_files_that_are_no_normals(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((4, 5, 2)))
    with pytest.raises(DataError, match=r"is an array \[4, 5, 2\]; normals are"):
        read_normals(tmp_path / "a.npy")
    np.save(tmp_path / "b.npy", np.full((4, 5, 3), 100.0))
    with pytest.raises(DataError, match=r"no vector of length 1 \(the median length is 173\)"):
        read_normals(tmp_path / "b.npy")
    Image.new("L", (4, 4)).save(tmp_path / "c.png")
    with pytest.raises(DataError, match="is a L picture"):
        read_normals(tmp_path / "c.png")


def test_given_masks_win_over_those_beside_the_photos(tmp_path: Path) -> None:
    cams = makers.cameras(4)
    makers.write_transforms(tmp_path / "scene", cams)
    for folder, level in ((tmp_path / "scene" / "masks", 0), (tmp_path / "mine", 255)):
        folder.mkdir()
        for camera in cams:
            mask = np.full((camera.height, camera.width), level, np.uint8)
            mask[:10] = 255 - level
            Image.fromarray(mask).save(folder / camera.name)
    own = load_scene(tmp_path / "scene").images.mask(0)
    given = load_scene(tmp_path / "scene", SceneConfig(prior_masks=tmp_path / "mine")).images.mask(0)
    assert own is not None
    assert given is not None
    assert own[:10].min() == 1.0
    assert own[10:].max() == 0.0
    assert given[:10].max() == 0.0
    assert given[10:].min() == 1.0
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"--prior-masks .*holds no mask for any of the 4 photos.*000\.png"):
        load_scene(tmp_path / "scene", SceneConfig(prior_masks=tmp_path / "empty"))
