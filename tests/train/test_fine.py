# SPDX-License-Identifier: Apache-2.0
"""Windows of the photos at twice the size that they are trained at."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sparse3d.judge.pictures import Pictures
from sparse3d.kernels.records import RasterSettings, View, view_of
from sparse3d.kernels.step import splat_step
from sparse3d.photos.store import ImageStore
from sparse3d.records.scene import Scene
from sparse3d.train import checkpoint
from sparse3d.train.config import ScheduleConfig, TrainConfig
from sparse3d.train.events import Stepped
from sparse3d.train.fine import FinePhotos, has_finer
from sparse3d.train.run_folder import open_run
from sparse3d.train.shots import TrainingPhotos
from tests.train import tiny

CFG = TrainConfig(
    steps=40,
    checkpoint_every=0,
    report_every=1,
    schedule=ScheduleConfig(fine_from=0.5, half_size_until=0.0, min_side_px=8),
)


def shrunk(scene: Scene, side: int) -> Scene:
    """The scene trained at `side` pixels."""
    cameras = tuple(camera.resized(side, side) for camera in scene.cameras)
    photos = [scene.images.photo(i) for i in range(len(scene.images))]
    return replace(scene, cameras=cameras, images=ImageStore(photos, cameras))


@pytest.fixture(scope="module")
def small(tiny_photos: Path) -> Scene:
    return shrunk(tiny.scene(tiny_photos), 32)


def fine(scene: Scene) -> FinePhotos:
    return FinePhotos(scene, masks="loss", background="white", generator=torch.Generator().manual_seed(1))


def photos(scene: Scene, cfg: TrainConfig) -> TrainingPhotos:
    return TrainingPhotos(scene, cfg, {k: torch.Generator().manual_seed(0) for k in ("views", "noise", "windows")})


def rendered(view: View) -> torch.Tensor:
    params = dict(tiny.true_splats().named())
    settings = RasterSettings(view.width, view.height, sh_degree=1)
    return splat_step("cpu", 1).render(params, view, torch.zeros(3), settings).image.clone()


def test_a_window_shows_the_same_part_of_photo_and_splats(small: Scene) -> None:
    windows = fine(small)
    black = torch.zeros(3)
    whole = Pictures(shrunk(small, 64), background="white").target(2, 1, black)[0]
    picture = rendered(view_of(small.cameras[small.train[2]].resized(64, 64)))
    corners = set()
    for _ in range(60):
        window = windows.window(2)
        assert (window.width, window.height, window.of) == (32, 32, (64, 64))
        corners.add((window.x in (0, 32), window.y in (0, 32)))
        target, mask = windows.target(2, window, black)
        assert mask is None
        torch.testing.assert_close(target, whole[window.slices], rtol=0, atol=0)
        seen = rendered(windows.view(2, window))
        # The Jacobian of what lies far outside of the window is clamped sooner than in the whole picture.
        off = (seen - picture[window.slices]).abs()
        assert off.mean() < 2e-4
        assert off.max() < 0.02
    # Edges and corners are reached too.
    assert corners == {(a, b) for a in (False, True) for b in (False, True)}


def test_photos_are_fine_from_their_moment_on_and_only_where_they_were_shrunk(small: Scene, tiny_photos: Path) -> None:
    shown = photos(small, CFG)
    shots = [shown.next(number) for number in range(1, 41)]
    assert [shot.window is not None for shot in shots] == [False] * 20 + [True] * 20
    assert {(shot.view.width, shot.view.height) for shot in shots} == {(32, 32)}
    assert shots[-1].view.intrinsics[0] == 2 * shots[0].view.intrinsics[0]
    whole = tiny.scene(tiny_photos)
    assert not has_finer(whole)
    assert all(photos(whole, CFG).next(number).window is None for number in (21, 40))
    # Never larger than the photo is, and not for a sixth more of it.
    assert fine(shrunk(whole, 40)).window(0).of == (64, 64)
    assert not has_finer(shrunk(whole, 55))


def test_it_stops_and_resumes_with_the_same_bits(small: Scene, tmp_path: Path) -> None:
    ends = []
    for name, stops in (("whole", ()), ("parts", (13, 29))):
        for stop_at in (*stops, None):
            stop = threading.Event()
            resume = (tmp_path / name).exists()
            with open_run(tmp_path / name, resume=resume) as folder:
                for event in tiny.train(small, tiny.initial(), CFG, folder, resume=resume, stop=stop):
                    if isinstance(event, Stepped) and event.step == stop_at:
                        stop.set()
        ends.append(checkpoint.load(tmp_path / name))
    assert ends[0].step == ends[1].step == 40
    for name, tensor in ends[0].tensors.items():
        assert torch.equal(tensor, ends[1].tensors[name]), name


def test_fine_windows_bring_detail_that_the_small_photos_lack(small: Scene) -> None:
    def end_of(cfg: TrainConfig) -> float:
        running = tiny.loop(small, tiny.initial(), cfg)
        while running.step < cfg.steps:
            list(running.advance())
        error = 0.0
        for position in range(len(small.train)):
            target = Pictures(shrunk(small, 64)).target(position, 1, torch.zeros(3))[0]
            image = rendered_by(running, small.cameras[small.train[position]].resized(64, 64))
            error += float((image - target).square().mean())
        return error

    def rendered_by(running, camera) -> torch.Tensor:
        return running.trainee.picture(camera, torch.zeros(3)).clone()

    longer = replace(CFG, steps=1200)
    never = replace(longer, schedule=replace(CFG.schedule, fine_from=1.0))
    assert end_of(longer) < 0.9 * end_of(never)
