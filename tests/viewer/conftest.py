# SPDX-License-Identifier: Apache-2.0
"""A page of the live viewer to open in the browser."""

from __future__ import annotations

import importlib
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sparse3d.formats import write
from sparse3d.render.camera_path import look_at
from tests.browser.conftest import DESKTOP, PATIENCE_MS, make_splats


def write_cameras(folder: Path, count: int = 5) -> None:
    """cameras.json of `count` cameras in an arc before the scene, beside a file of splats."""
    cameras = []
    for index in range(count):
        eye = np.array([0.6 * (index - count // 2), -0.3, -3.5])
        pose = look_at(eye, np.zeros(3), np.array([0.0, -1.0, 0.0]))
        cameras.append({
            "name": f"photo{index}.jpg", "split": "test" if index == 1 else "train", "width": 320, "height": 240,
            "fx": 300.0, "fy": 300.0, "cx": 160.0, "cy": 120.0, "cam_from_world": pose.tolist(),
        })  # fmt: skip
    (folder / "cameras.json").write_text(json.dumps({"schema": 1, "source": "given", "cameras": cameras}))


@pytest.fixture(scope="module")
def scene_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scene")
    write_cameras(folder)
    write(folder / "splat.ply", make_splats())
    return folder


@pytest.fixture(scope="module")
def page(scene_file: Path) -> Iterator[Any]:
    """A `Page` that is served, with its sentences in `page.said`."""
    viser = pytest.importorskip("viser", reason="viser is not installed")
    if not str(getattr(viser, "__version__", "")).startswith("1.1"):
        pytest.skip("viser is not of the release 1.1")
    said: list[str] = []
    subject = importlib.import_module("sparse3d.viewer.subject").open_subject(scene_file)
    made = importlib.import_module("sparse3d.viewer.page").Page(subject, said.append)
    made.said = said
    made.start()
    yield made
    made.stop()


@pytest.fixture
def open_viewer(browser: Any, page: Any) -> Iterator[Callable[..., Any]]:
    """`open_viewer()` opens the page and waits until the scene is visible."""
    contexts = []

    def opened(settings: dict[str, Any] = DESKTOP) -> Any:
        context = browser.new_context(**settings)
        contexts.append(context)
        tab = context.new_page()
        tab.set_default_timeout(PATIENCE_MS)
        tab.goto(page.served.address)
        tab.wait_for_selector("canvas")
        wait_until(tab, lambda: shown(tab).std() > 20)
        return tab

    yield opened
    for context in contexts:
        context.close()


def shown(tab: Any) -> np.ndarray:
    """[H,W,3] the left part of what the page shows, 0..255, where no panel is."""
    pixels = np.asarray(Image.open(io.BytesIO(tab.screenshot())).convert("RGB"), dtype=np.float64)
    return pixels[190:, : round(pixels.shape[1] * 0.7)]


def wait_until(tab: Any, holds: Callable[[], bool], seconds: float = 60.0) -> None:
    """Asks again and again; an AssertionError where it does not hold in time."""
    for _ in range(int(seconds * 4)):
        if holds():
            return
        tab.wait_for_timeout(250)
    raise AssertionError("what was waited for did not come")
