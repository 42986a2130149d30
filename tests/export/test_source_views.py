# SPDX-License-Identifier: Apache-2.0
"""Pictures of the source between the photos, and training on them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from sparse3d.compress.prune import prune
from sparse3d.export.refine import RefineConfig, recover
from sparse3d.export.run_photos import RunPhotos
from sparse3d.export.source_views import cameras_between, source_views
from sparse3d.render import RenderOptions, render
from sparse3d.splats import Splats
from sparse3d.train.config import TrainConfig
from tests.train import tiny


def test_cameras_stand_near_the_way_between_neighbours_and_look_alike():
    cameras = tiny.cameras()[:4]
    found = cameras_between(cameras, 20)
    assert len(found) == 20
    for camera in found:
        ways = [np.linalg.norm(camera.position - c.position) for c in cameras]
        nearest = cameras[int(np.argmin(ways))]
        # Neighbours stand 2.0 to 2.4 apart; the middle of that and a third aside.
        assert min(ways) < 1.7
        assert camera.cam_from_world[2, :3] @ nearest.cam_from_world[2, :3] > 0.5
        rotation = camera.cam_from_world[:3, :3]
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
        assert (camera.width, camera.fx) == (nearest.width, nearest.fx)
    places = np.stack([camera.position for camera in found])
    apart = np.linalg.norm(places[:, None] - places[None], axis=2) + 10 * np.eye(20)
    assert apart.min() > 1e-3
    again = cameras_between(cameras, 20)
    assert all(np.array_equal(a.cam_from_world, b.cam_from_world) for a, b in zip(found, again, strict=True))


def test_cameras_at_one_place_have_nothing_between_them():
    camera = tiny.cameras()[0]
    assert cameras_between([camera], 5) == []
    assert cameras_between([camera, replace(camera)], 5) == []
    assert source_views(tiny.true_splats(), [camera], 5) == ()


def test_pictures_are_those_of_the_source():
    splats, background = tiny.true_splats(), torch.tensor([0.2, 0.4, 0.6])
    views = source_views(splats, tiny.cameras(), 3, background=background)
    assert len(views) == 3
    for view in views:
        shown = render(splats, view.camera, RenderOptions((0.2, 0.4, 0.6), backend="reference")).image
        assert view.image.shape == (tiny.SIZE_PX, tiny.SIZE_PX, 3)
        np.testing.assert_allclose(view.image, shown.clamp(0, 1).numpy(), atol=2e-3)
        assert (view.weight == 1.0).all()


def test_two_photos_and_the_source_teach_more_than_two_photos(tmp_path: Path):
    tiny.write_photos(tmp_path)
    scene = replace(tiny.scene(tmp_path), train=(2, 4), test=(3,))
    photos = RunPhotos(scene, TrainConfig(steps=1000, sh_degree=1, threads=1), {})
    splats = tiny.true_splats()
    pruned = prune(splats, photos.importance(splats), 50)
    taught = photos.with_source(splats)
    assert len(taught.beside) > 0
    assert taught.with_source(pruned) is taught
    cfg = RefineConfig(threads=1)
    scores = [recover_score(p, pruned, cfg) for p in (taught, photos)]
    assert scores[0] > scores[1] + 0.3
    off = replace(cfg, source_every=0)
    assert recover_score(taught, pruned, off) == recover_score(photos, pruned, off)


def test_many_photos_need_no_source():
    scene = replace(tiny.scene(Path("nowhere")), train=tuple(range(13)))
    photos = RunPhotos(scene, TrainConfig(), {})
    assert photos.with_source(tiny.true_splats()) is photos


def recover_score(photos: RunPhotos, splats: Splats, cfg: RefineConfig) -> float:
    value = photos.scores(recover(photos, splats, 150, cfg)).psnr
    assert value is not None
    return value
