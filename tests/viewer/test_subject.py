# SPDX-License-Identifier: Apache-2.0
"""What the live viewer opens and draws, without a browser."""

from __future__ import annotations

import importlib
import json
import math
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from sparse3d.camera import Camera
from sparse3d.errors import DataError
from sparse3d.formats import write
from sparse3d.render import render
from sparse3d.render.camera_path import look_at
from sparse3d.splats import PARAMETER_NAMES, Splats
from sparse3d.train import checkpoint as checkpoints
from tests.browser.conftest import make_splats
from tests.viewer.conftest import write_cameras

cameras, modes, overlay, painter, subject, timeline, follow = (
    importlib.import_module(f"sparse3d.viewer.{name}")
    for name in ("cameras", "modes", "photo_overlay", "painter", "subject", "timeline", "follow")
)


def save_checkpoint(folder: Path, splats: Splats, step: int) -> None:
    tensors = {f"params.{name}": getattr(splats, name) for name in PARAMETER_NAMES}
    state = {"antialias": True, "num_splats": splats.num_splats}
    checkpoints.save(folder, checkpoints.Checkpoint(step, tensors, state, {}, {}, {}, []))


def test_viser_camera_is_ours() -> None:
    pose = look_at(np.array([1.0, -2.0, -3.0]), np.array([0.2, 0.1, 0.4]), np.array([0.1, -1.0, 0.0]))
    ours = Camera(320, 200, 240.0, 240.0, 160.0, 100.0, pose)
    handle = SimpleNamespace(
        wxyz=cameras.wxyz_of(ours), position=ours.position * 4.0, fov=cameras.fov_of(ours), image_width=320,
        image_height=200,
    )  # fmt: skip
    got = cameras.camera_of(cameras.seen_by(handle, 4.0), 320 * 200)
    assert np.allclose(got.cam_from_world, pose, atol=1e-9)
    assert (got.width, got.height) == (320, 200)
    assert np.allclose(got.K, ours.K, atol=1e-9)


def test_small_picture_sees_the_same() -> None:
    seen = cameras.Seen(np.eye(4), 1.0, 1281, 719)
    small = cameras.camera_of(seen, 10_000)
    assert small.width * small.height <= 10_200
    assert math.isclose(2 * math.atan(small.height / 2 / small.fy), 1.0)
    assert math.isclose(small.width / small.fx, 1281 / 719 * small.height / small.fy)
    assert cameras.camera_of(seen, 1 << 30).width == 1281


def test_depth_and_normals_of_a_wall() -> None:
    xs, ys = np.meshgrid(np.linspace(-3, 3, 61), np.linspace(-3, 3, 61))
    n = xs.size
    wall = Splats(
        torch.from_numpy(np.stack([xs, ys, np.full_like(xs, 2.0)], -1).reshape(n, 3).astype(np.float32)),
        torch.tensor([[1.0, 0, 0, 0]]).repeat(n, 1), torch.tensor([[-2.3, -2.3, -7.0]]).repeat(n, 1),
        torch.full((n,), 4.0), torch.zeros(n, 1, 3), torch.zeros(n, 0, 3),
    )  # fmt: skip
    camera = Camera(64, 48, 40.0, 40.0, 32.0, 24.0, np.eye(4))
    picture = modes.draw(wall, camera, modes.Look("Normals"), depth=True)
    assert np.allclose(picture.depth, 2.0, atol=0.05)
    # Towards the camera: no red or green lean, full blue.
    assert np.abs(picture.image[4:-4, 4:-4].mean(axis=(0, 1)) - (127.5, 127.5, 255)).max() < 4


def test_support_colours_rise_with_the_photos() -> None:
    splats = make_splats(3)
    shown = modes.dressed(splats, "Photos per splat", torch.tensor([0, 4, 200], dtype=torch.uint8), 1.0)
    light = (0.5 + 0.28209479 * shown.sh0[:, 0]).sum(dim=1)
    assert light[0] < light[1] < light[2]
    assert shown.sh_degree == 0


@pytest.mark.parametrize("turn", [0.0, 0.15])
def test_photo_lies_where_the_camera_sees_it(turn: float) -> None:
    splats = make_splats(400)
    pose = look_at(np.array([0.0, 0.0, -4.0]), np.zeros(3), np.array([0.0, -1.0, 0.0]))
    taken = Camera(160, 120, 150.0, 150.0, 80.0, 60.0, pose)
    rotation = np.eye(4)
    rotation[:3, :3] = [[math.cos(turn), 0, math.sin(turn)], [0, 1, 0], [-math.sin(turn), 0, math.cos(turn)]]
    here = Camera(200, 100, 90.0, 90.0, 100.0, 50.0, rotation @ pose)
    photo = overlay.Photo("a", taken, (render(splats, taken).image.clamp(0, 1) * 255).byte().numpy())
    drawn = (render(splats, here).image.clamp(0, 1) * 255).byte().numpy()
    pixels, covered = overlay.laid_over(photo, here)
    assert 0.2 < covered.mean() < 0.9
    assert np.abs(pixels[covered].astype(float) - drawn[covered]).mean() < 6
    wiped = overlay.wiped(drawn, photo, here, 0.5)
    assert (wiped[:, 102:] == drawn[:, 102:]).all()
    assert (wiped[:, :98][covered[:, :98]] == pixels[:, :98][covered[:, :98]]).all()
    assert overlay.stands_at(photo, here, 1.0)
    away = np.eye(4)
    away[0, 3] = 0.1
    assert not overlay.stands_at(photo, replace(here, cam_from_world=away @ here.cam_from_world), 1.0)


class Recorder:
    """A browser that notes what it is asked to paint."""

    def __init__(self) -> None:
        self.painted: list[tuple[int, bool]] = []

    def seen(self) -> Any:
        return cameras.Seen(np.eye(4), 1.0, 640, 480)

    def paint(self, seen: Any, pixels: int, *, resting: bool) -> None:
        self.painted.append((pixels, resting))
        if len(self.painted) == 1:
            raise RuntimeError("once")


def until(holds: Any) -> None:
    for _ in range(400):
        if holds():
            return
        time.sleep(0.05)
    raise AssertionError("what was waited for did not come")


def test_painter_draws_small_then_whole_and_survives_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    # Long enough that a busy machine draws a small picture meanwhile.
    monkeypatch.setattr(painter, "_REST_S", 1.5)
    said: list[str] = []
    made, one, two = painter.Painter(said.append), Recorder(), Recorder()
    made.start()
    try:
        made.add(1, one)
        made.add(2, two)
        until(lambda: one.painted and two.painted and one.painted[-1][1] and two.painted[-1][1])
        count = len(two.painted)
        made.moved(1)
        until(lambda: len(one.painted) >= 4 and one.painted[-1][1])
        assert one.painted[0][0] < one.painted[-1][0]
        assert len(two.painted) == count
    finally:
        made.stop()
    assert said == ["a picture could not be drawn: once"]


def test_course_is_read_from_whole_lines_only(tmp_path: Path) -> None:
    assert timeline.read_course(tmp_path) is None
    lines = [
        json.dumps({"event": "stepped", "step": k, "loss": 1 / k, "psnr": None, "count": 5, "counted": "splats"})
        for k in range(1, 1001)
    ]
    (tmp_path / "events.jsonl").write_text("\n".join(["nonsense", '{"event": "saved"}', *lines, lines[0][:20]]))
    course = timeline.read_course(tmp_path)
    assert course.steps[0] == 1
    assert course.steps[-1] == 1000
    assert 2 <= len(course.steps) <= 401
    assert np.allclose(course.loss, 1 / course.steps)
    assert np.isnan(course.psnr).all()


def test_run_that_trains_is_followed_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("")
    with pytest.raises(DataError, match="no checkpoint yet"):
        subject.open_subject(tmp_path)
    write_cameras(tmp_path)
    save_checkpoint(tmp_path, make_splats(50), 10)
    opened = subject.open_subject(tmp_path)
    assert opened.follows
    assert opened.now.step == 10
    assert opened.now.splats.antialias
    assert "changes nothing" in opened.notes[0]
    before = {path.name for path in tmp_path.iterdir()}
    said: list[str] = []
    changes: list[int] = []
    follower = follow.Follower(opened, lambda: changes.append(1), said.append)
    follower.start()
    try:
        time.sleep(0.3)
        save_checkpoint(tmp_path, make_splats(60), 20)
        until(lambda: opened.now.step == 20)
        assert opened.now.splats.num_splats == 60
        write(tmp_path / "splat.ply", make_splats(70))
        until(lambda: opened.now.step is None)
        assert opened.now.splats.num_splats == 70
    finally:
        follower.stop()
    assert len(changes) == 2
    assert said == ["the run is finished; the page shows its splats"]
    assert {path.name for path in tmp_path.iterdir()} == before | {"splat.ply"}


def test_command_prints_the_address_and_ends_clean(tmp_path: Path) -> None:
    pytest.importorskip("viser")
    write(tmp_path / "a.ply", make_splats(50))
    with subprocess.Popen(
        [sys.executable, "-m", "sparse3d", "view", str(tmp_path / "a.ply")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ),
    ) as running:  # fmt: skip
        assert running.stdout is not None
        address = running.stdout.readline().strip()
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.build_opener(NoRedirect).open(address, timeout=30)
        caught.value.close()
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=60)
    assert caught.value.code == 303
    assert (running.returncode, out) == (0, "")
    assert err == "50 splats; open this address in a browser, Ctrl-C ends it:\n"


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None
