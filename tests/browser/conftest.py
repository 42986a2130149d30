# SPDX-License-Identifier: Apache-2.0
"""Small pages to open without a network in the browser of tests/chromium.py."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sparse3d.camera import Camera
from sparse3d.formats import WriteOptions, write
from sparse3d.formats.html.options import PageOptions, StartCamera
from sparse3d.splats import Splats, num_sh_rest

DESKTOP: dict[str, Any] = {"viewport": {"width": 1280, "height": 720}}
PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844}, "device_scale_factor": 3, "has_touch": True, "is_mobile": True,
}  # fmt: skip
# A page is ready when its first picture is drawn; a busy machine needs its time.
PATIENCE_MS = 120_000


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """`open_page(path, settings, init)` opens a file without network and waits until it is ready or has failed."""
    contexts = []

    def opened(path: Path, settings: dict[str, Any] = DESKTOP, init: str = "") -> Any:
        context = browser.new_context(offline=True, **settings)
        contexts.append(context)
        context.add_init_script(init)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.goto(path.as_uri())
        page.wait_for_selector("html:not([data-state=loading])", state="attached")
        return page

    yield opened
    for context in contexts:
        context.close()


def make_splats(count: int = 1500, degree: int = 3, *, antialias: bool = False) -> Splats:
    """A seeded cloud of coloured, stretched splats of many sizes in a box around the origin."""
    rng = np.random.default_rng(5)

    def tensor(values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(values.astype(np.float32))

    return Splats(
        means=tensor(rng.uniform(-1, 1, (count, 3))),
        quats_wxyz=tensor(rng.normal(size=(count, 4))),
        log_scales=tensor(rng.uniform(-5, -1.8, (count, 3))),
        logit_opacities=tensor(rng.uniform(-3, 4, count)),
        sh0=tensor(rng.uniform(-1.5, 1.5, (count, 1, 3))),
        shN=tensor(rng.normal(scale=0.15, size=(count, num_sh_rest(degree), 3)).clip(-0.9, 0.9)),
        antialias=antialias,
    )


# Not along an axis, so that a turned or mirrored picture cannot pass.
START = StartCamera((0.7, -0.9, -3.0), (0.1, 0.0, 0.2), (0.1, -1.0, 0.0), 50.0)


@pytest.fixture(scope="session")
def make_page(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`make_page(splats, title=...)` writes a page and gives its path."""

    def made(splats: Splats, **settings: Any) -> Path:
        path = tmp_path_factory.mktemp("page") / "scene.html"
        write(path, splats, WriteOptions(page=PageOptions(camera=START, **settings)))
        return path

    return made


@pytest.fixture(scope="session")
def page_file(make_page: Callable[..., Path]) -> Path:
    return make_page(make_splats(), title="Cloud")


def picture(page: Any) -> tuple[np.ndarray, Camera]:
    """What the page shows now, [H,W,3] in 0..1, and from where."""
    got = page.evaluate("window.__sparse3d.picture()")
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(got["png"].split(",")[1]))).convert("RGB"))
    pose = np.array(got["cam_from_world"])
    return pixels / 255.0, Camera(*(got[k] for k in ("width", "height", "fx", "fy", "cx", "cy")), cam_from_world=pose)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(-10 * np.log10(np.mean((a - b) ** 2) + 1e-12))
