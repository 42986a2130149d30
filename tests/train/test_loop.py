# SPDX-License-Identifier: Apache-2.0
"""Small real trainings: they learn, they repeat bit for bit, and they say what happens."""

from __future__ import annotations

import shutil
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sparse3d.errors import DataError
from sparse3d.geometry.rigid import se3_exp
from sparse3d.live import Slot, Snapshot
from sparse3d.photos.photo import Photo
from sparse3d.photos.store import ImageStore
from sparse3d.records.scene import Scene
from sparse3d.splats import Splats
from sparse3d.train.config import CameraOptConfig, DensityConfig, ExposureConfig, ScheduleConfig, TrainConfig
from sparse3d.train.events import Densified, Evaluated, Event, Finished, Saved, Started, Stepped
from sparse3d.train.run_folder import open_run
from tests.train import tiny
from tests.train.tiny import loop, train

# min_side_px lets even these pictures be trained on at half size.
SCHEDULE = ScheduleConfig(half_size_until=0.3, min_side_px=16)
CONFIG = TrainConfig(
    steps=200,
    sh_degree=1,
    report_every=20,
    check_every=20,
    schedule=SCHEDULE,
    density=DensityConfig(cap=300, grad_threshold=2e-4),
)
# Everything that a step can do, for the tests of bits.
EVERYTHING = replace(
    CONFIG,
    steps=30,
    antialias=True,
    background="random",
    exposure=ExposureConfig(enabled=True),
    camera_opt=CameraOptConfig(enabled="on", start=0.2),
)


def run_to_end(scene: Scene, cfg: TrainConfig, **options) -> tuple[list[Event], Splats]:
    events = []
    running = train(scene, tiny.initial(), cfg, options.pop("run_folder", None), **options)
    while True:
        try:
            events.append(next(running))
        except StopIteration as end:
            return events, end.value


def assert_same_bits(a: Splats, b: Splats) -> None:
    for (name, left), (_, right) in zip(a.named(), b.named(), strict=True):
        assert left.shape == right.shape, name
        assert torch.equal(left.view(torch.int32), right.view(torch.int32)), f"{name} differs"


def test_training_reaches_a_psnr_floor_on_held_out_photos(tiny_scene: Scene):
    before = loop(tiny_scene, tiny.initial(), CONFIG).evaluate(None, final=False).psnr
    slot: Slot[Snapshot[Splats]] = Slot()
    events, splats = run_to_end(tiny_scene, CONFIG, slot=slot)
    final = next(event for event in events if isinstance(event, Evaluated))
    assert final.final
    assert before is not None
    assert before < 18
    assert final.psnr is not None
    assert final.psnr > 22, f"held-out PSNR {final.psnr} after {CONFIG.steps} steps"
    assert final.ssim is not None
    assert final.ssim > 0.75
    assert [row["name"] for row in final.per_view] == ["03.png", "07.png"]
    newest, _ = slot.get()
    assert newest is not None
    assert newest.step == CONFIG.steps
    assert_same_bits(newest.value, splats)


def test_events_tell_the_run_in_order(tiny_scene: Scene):
    events, splats = run_to_end(tiny_scene, CONFIG)
    started, finished = events[0], events[-1]
    assert isinstance(started, Started)
    assert isinstance(finished, Finished)
    assert (started.views_train, started.views_test, started.steps) == (8, 2, 200)
    assert (finished.reason, finished.step, finished.count) == ("completed", 200, splats.num_splats)
    assert finished.counted == "splats"
    reports = [event for event in events if isinstance(event, Stepped)]
    assert [event.step for event in reports] == list(range(20, 201, 20))
    assert reports[-1].loss < 0.6 * reports[0].loss
    assert {event.image_scale for event in reports} == {1, 2}
    assert {event.details["sh_degree"] for event in reports} == {0, 1}
    counts = [event.count for event in events if isinstance(event, Densified)]
    assert counts
    assert max(counts) <= CONFIG.density.cap
    assert splats.num_splats > 120
    assert not any(isinstance(event, Saved) for event in events)


@pytest.mark.parametrize("policy", ["adaptive", "mcmc"])
def test_bits_do_not_depend_on_the_number_of_threads(tiny_scene: Scene, policy: str):
    cfg = replace(EVERYTHING, density=replace(CONFIG.density, policy=policy))
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            events, splats = run_to_end(tiny_scene, replace(cfg, threads=threads))
            results.append(splats)
            assert any(isinstance(event, Densified) for event in events)
    finally:
        torch.set_num_threads(before)
    assert_same_bits(results[0], results[1])
    assert_same_bits(results[0], results[2])
    start = tiny.initial()
    assert not torch.equal(results[0].means[: start.num_splats], start.means)


def test_another_seed_gives_other_splats(tiny_scene: Scene):
    cfg = replace(CONFIG, steps=10)
    _, a = run_to_end(tiny_scene, cfg)
    _, b = run_to_end(tiny_scene, replace(cfg, seed=1))
    assert not torch.equal(a.means, b.means)


def test_both_back_ends_take_nearly_the_same_steps(tiny_scene: Scene):
    # Long splats of other colours: round ones have no gradient to their rotation, only noise.
    true = tiny.true_splats()
    start = replace(true, sh0=true.sh0 * 0.5, means=true.means + 0.02)
    runs = []
    for backend in ("cpu", "reference"):
        run = loop(tiny_scene, start, replace(CONFIG, steps=200, backend=backend))
        while run.step < 6:
            list(run.advance())
        runs.append(tiny.trainee(run))
    ours, theirs = runs
    for name, tensor in theirs.params.items():
        moved = (tensor - getattr(start, name)).abs().mean()
        assert name == "shN" or moved > 0, name
        # Adam's first steps have the size of the rate whatever the gradient: a sign near zero may differ.
        assert (ours.params[name] - tensor).abs().mean() <= 0.02 * moved + 1e-7, name
    for name, tensor in vars(theirs.stats).items():
        assert tensor.mean() > 0, name
        difference = (getattr(ours.stats, name) - tensor).abs().mean()
        assert difference <= 0.02 * tensor.abs().mean(), name


def noise_outside_the_masks(photos: Path, folder: Path) -> None:
    """The photos and masks again, with noise where the masks leave a photo out."""
    (folder / "masks").mkdir(parents=True)
    for path in sorted(photos.glob("*.png")):
        keep = np.asarray(Image.open(photos / "masks" / path.name)) > 127
        assert 0.1 < keep.mean() < 0.9
        pixels = np.array(Image.open(path))
        pixels[~keep] = np.random.default_rng(int(path.stem)).integers(0, 256, (int((~keep).sum()), 3))
        Image.fromarray(pixels).save(folder / path.name)
        shutil.copy(photos / "masks" / path.name, folder / "masks" / path.name)


def test_masked_training_ignores_what_lies_outside(tiny_photos: Path, tmp_path: Path):
    noise_outside_the_masks(tiny_photos, tmp_path / "noise")
    # At full size: a photo's smaller picture mixes the pixels on both sides of a mask's edge.
    cfg = replace(CONFIG, steps=60, schedule=replace(SCHEDULE, half_size_until=0.0))
    scenes = [tiny.scene(folder, masks=True) for folder in (tiny_photos, tmp_path / "noise")]
    plain, noisy = (run_to_end(scene, cfg)[1] for scene in scenes)
    assert_same_bits(plain, noisy)
    # What lies outside is not the same: where the masks are off, it shows.
    plain, noisy = (run_to_end(scene, replace(cfg, steps=2, masks="off"))[1] for scene in scenes)
    assert not torch.equal(plain.means, noisy.means)


def test_masked_photos_have_scores_of_the_part_that_counts_and_of_the_whole(tiny_photos: Path):
    scene = tiny.scene(tiny_photos, masks=True)
    events, _ = run_to_end(scene, replace(CONFIG, steps=60))
    final = next(event for event in events if isinstance(event, Evaluated))
    assert final.psnr_full is not None
    assert final.ssim_full is not None
    assert final.psnr != final.psnr_full
    for row in final.per_view:
        assert {"psnr", "ssim", "psnr_full", "ssim_full"} <= row.keys()


def test_without_held_out_photos_the_scores_are_none(tiny_photos: Path):
    events, _ = run_to_end(tiny.scene(tiny_photos, test=()), replace(CONFIG, steps=5))
    final = next(event for event in events if isinstance(event, Evaluated))
    assert (final.psnr, final.ssim, final.lpips, final.per_view) == (None, None, None, ())


def test_no_training_photo_is_an_error(tiny_scene: Scene):
    with pytest.raises(DataError, match="no photo to train on"):
        run_to_end(replace(tiny_scene, train=()), CONFIG)


def test_one_camera_trains(tiny_scene: Scene):
    events, splats = run_to_end(replace(tiny_scene, train=(0,)), replace(CONFIG, steps=20))
    assert isinstance(events[-1], Finished)
    assert all(bool(torch.isfinite(tensor).all()) for _, tensor in splats.named())


def test_photos_of_different_sizes_train_together(tiny_photos: Path, tmp_path: Path):
    for path in tiny_photos.glob("*.png"):
        with Image.open(path) as picture:
            size = (64, 64) if int(path.stem) % 2 else (50, 37)
            picture.resize(size, Image.Resampling.BOX).save(tmp_path / path.name)
    cams = [c if i % 2 else c.resized(50, 37) for i, c in enumerate(tiny.cameras())]
    scene = tiny.scene(tmp_path)
    photos = [Photo(c.name, tmp_path / c.name, c, upright=True) for c in cams]
    mixed = replace(scene, cameras=tuple(cams), images=ImageStore(photos, cams))
    events, _ = run_to_end(mixed, CONFIG)
    final = next(event for event in events if isinstance(event, Evaluated))
    assert final.psnr is not None
    assert final.psnr > 20


def test_stopping_saves_and_ends(tiny_scene: Scene, tmp_path: Path):
    stop = threading.Event()
    events = []
    with open_run(tmp_path / "run") as folder:
        for event in train(tiny_scene, tiny.initial(), CONFIG, folder, stop=stop):
            events.append(event)
            if isinstance(event, Stepped) and event.step == 40:
                stop.set()
    assert isinstance(events[-1], Finished)
    assert (events[-1].reason, events[-1].step) == ("stopped", 40)
    assert any(isinstance(event, Saved) and event.what == "checkpoint" and event.step == 40 for event in events)
    assert (tmp_path / "run" / "checkpoint.safetensors").is_file()


def test_exposure_explains_darker_photos(tiny_photos: Path, tmp_path: Path):
    for path in sorted(tiny_photos.glob("*.png")):
        number = int(path.stem)
        gain = 0.6 if number % 4 == 0 else 1.0
        Image.open(path).point([round(value * gain) for value in range(256)] * 3).save(tmp_path / path.name)
    scene = tiny.scene(tmp_path)
    cfg = replace(CONFIG, exposure=ExposureConfig(enabled=True, rate=0.01))
    run = loop(scene, tiny.initial(), cfg)
    while run.step < cfg.steps:
        list(run.advance())
    assert run.photos.exposure is not None
    gains = run.photos.exposure.values[:, :3].mean(axis=1)
    dark = [i for i, view in enumerate(scene.train) if view % 4 == 0]
    bright = [i for i in range(len(scene.train)) if i not in dark]
    assert gains[dark].mean() < 0.85 * gains[bright].mean()


def test_camera_refinement_brings_a_shifted_camera_back(tiny_scene: Scene):
    cameras = list(tiny_scene.cameras)
    moved = tiny_scene.train[2]
    shift = se3_exp(np.array([0.05, 0.0, 0.0, 0.0, 0.02, 0.0]))
    true_pose = cameras[moved].cam_from_world
    cameras[moved] = replace(cameras[moved], cam_from_world=shift @ true_pose)
    scene = replace(tiny_scene, cameras=tuple(cameras))
    cfg = replace(
        CONFIG,
        density=DensityConfig(policy="fixed"),
        schedule=replace(SCHEDULE, half_size_until=0.0),
        camera_opt=CameraOptConfig(enabled="on", rotation_rate=1e-3, translation_rate=1e-3, start=0.0),
    )
    # From the true splats: only the camera is wrong.
    run = loop(scene, tiny.true_splats(), cfg)
    while run.step < cfg.steps:
        list(run.advance())
    assert run.photos.poses is not None
    before = np.abs(cameras[moved].cam_from_world - true_pose).max()
    after = np.abs(run.photos.poses.poses[2] - true_pose).max()
    assert after < 0.4 * before, (before, after)
