# SPDX-License-Identifier: Apache-2.0
"""The real scenes: each loads as what it is, and its cameras agree with what its photos show.

Skipped, with the reason, where the scenes are absent.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from sparse3d.load import SceneConfig, load_scene
from sparse3d.load.parsers import PARSERS
from tests.sfm.epipolar import median_epipolar_px

Shared = Callable[[str], Path]


@pytest.mark.parametrize(
    ("name", "kind", "photos", "size", "test", "masks"),
    [
        ("fox", "transforms", 50, (1080, 1920), 7, False),
        ("llff_fern", "llff", 20, (504, 378), 3, False),
        ("llff_flower", "llff", 25, (706, 529), 4, False),
        ("dtu_scan24", "neus", 49, (400, 300), 7, True),
        ("nerf_synthetic_lego", "blender", 40, (800, 800), 15, False),
        ("nerd_maryRose", "llff", 23, (432, 432), 3, True),
        ("middlebury_dinoSparseRing", "middlebury", 16, (640, 480), 2, False),
        ("mobilebrick_5", "pose_files", 5, (1920, 1440), 0, False),
    ],
)
def test_loads(
    shared_scene: Shared, name: str, kind: str, photos: int, size: tuple[int, int], test: int, masks: bool
) -> None:
    scene = load_scene(shared_scene(name))
    assert (scene.kind, len(scene.names), len(scene.test)) == (kind, photos, test)
    assert len(scene.train) + len(scene.test) == photos
    assert all((c.width, c.height) == size for c in scene.cameras)
    assert scene.has_masks is masks
    image = scene.images[photos - 1]
    assert image.shape == (size[1], size[0], 3)
    assert float(image.std()) > 0.05
    if masks:
        mask = scene.images.mask(photos - 1)
        assert mask is not None
        assert 0.05 < float(mask.mean()) < 0.95


@pytest.mark.parametrize(
    ("name", "count"), [("kitchen_vggt", 10), ("gaussianobject_rabbit4", 4), ("sfm_lund_door", 12), ("room_vggt", 8)]
)
def test_photos_without_cameras(shared_scene: Shared, name: str, count: int) -> None:
    root = shared_scene(name)
    # In particular the ground truth beside the photos of the door is not found.
    assert [p.kind for p in PARSERS if p.sniff(root)] == ["photos"]
    from sparse3d.load.parsers import Work

    parsed = PARSERS["photos"].parse(root, SceneConfig(), Work())
    assert len(parsed.photos) == count
    assert all(photo.camera is None for photo in parsed.photos)


@pytest.mark.parametrize(
    ("name", "max_side", "pairs", "limit_px"),
    [
        # At full size the fox' median is 0.40 to 0.47 px: its pictures are 1920 px high.
        ("fox", 960, ((0, 1), (10, 11)), 0.4),
        ("llff_fern", "full", ((0, 1), (10, 11)), 0.4),
        ("llff_flower", "full", ((0, 1), (10, 11)), 0.4),
        ("dtu_scan24", "full", ((22, 23), (0, 1)), 0.4),
        ("mobilebrick_5", 960, ((0, 1), (2, 3)), 0.4),
        ("nerd_maryRose", "full", ((0, 1),), 0.4),
        ("middlebury_dinoSparseRing", "full", ((0, 1),), 1.0),
    ],
)
def test_cameras_agree_with_photos(
    shared_scene: Shared,
    name: str,
    max_side: int | Literal["full"],
    pairs: tuple[tuple[int, int], ...],
    limit_px: float,
) -> None:
    scene = load_scene(shared_scene(name), SceneConfig(max_side=max_side))
    for first, second in pairs:
        median, count = median_epipolar_px(scene, first, second)
        assert count >= 15
        assert median < limit_px


def test_door_ground_truth_given_by_hand(shared_scene: Shared) -> None:
    scene = load_scene(shared_scene("sfm_lund_door") / "colmap_ground_truth", SceneConfig(max_side=968))
    assert scene.kind == "colmap"
    assert scene.points is not None
    assert len(scene.points) > 10_000
    median, count = median_epipolar_px(scene, 0, 1)
    assert count > 100
    assert median < 0.2


def test_points_of_the_door_have_the_colours_of_its_photos(shared_scene: Shared) -> None:
    scene = load_scene(shared_scene("sfm_lund_door") / "colmap_ground_truth", SceneConfig(max_side=968))
    assert scene.points is not None
    pixels, depth = scene.cameras[5].project(scene.points.xyz)
    inside = (depth > 0) & (pixels > 1).all(axis=1) & (pixels < [scene.cameras[5].width - 1, 967]).all(axis=1)
    x, y = pixels[inside].astype(int).T
    shown = scene.images[5].numpy()[y, x]
    difference = np.abs(shown - scene.points.rgb[inside]).mean(axis=1)
    assert inside.sum() > 1000
    assert np.median(difference) < 0.05


def test_fox_at_the_size_of_the_records(shared_scene: Shared) -> None:
    scene = load_scene(shared_scene("fox"), SceneConfig(max_side=480))
    assert {(c.width, c.height) for c in scene.cameras} == {(270, 480)}
    assert (len(scene.train), len(scene.test)) == (43, 7)
    missing = [note for note in scene.notes if "do not exist" in note]
    assert missing == ["17 of 67 photos listed in transforms.json do not exist and are left out, first images/0005.jpg"]
    assert load_scene(shared_scene("fox"), SceneConfig(views="4")).train == (1, 17, 33, 49)


def test_dtu_protocol_on_scan24(shared_scene: Shared) -> None:
    scene = load_scene(shared_scene("dtu_scan24"), SceneConfig(views="22,25,28", protocol="dtu"))
    assert scene.train == (22, 25, 28)
    assert len(scene.test) == 31
    assert scene.notes[0] == (
        "scene dtu_scan24: read as neus, because there is a cameras_sphere.npz; also possible with --kind: llff, photos"
    )
