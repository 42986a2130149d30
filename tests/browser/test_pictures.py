# SPDX-License-Identifier: Apache-2.0
"""What a page draws is what our own renderer draws of the same file from the same place."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sparse3d.camera import Camera
from sparse3d.formats import read
from sparse3d.render import render
from tests.browser.conftest import DESKTOP, PHONE, START, make_splats, picture, psnr

SMALL: dict[str, Any] = {"viewport": {"width": 320, "height": 240}}


def our_picture(path: Path, camera: Camera) -> np.ndarray:
    return np.round(render(read(path), camera).image.clamp(0, 1).numpy() * 255) / 255


@pytest.mark.parametrize("settings", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_opened_from_a_file_without_network(
    open_page: Callable[..., Any], page_file: Path, settings: dict[str, Any]
) -> None:
    page = open_page(page_file, settings)
    assert page.evaluate("document.documentElement.dataset.state") == "ready"
    assert int(page.evaluate("document.documentElement.dataset.firstFrameMs")) > 0
    shown, camera = picture(page)
    width, height = (settings["viewport"][k] for k in ("width", "height"))
    assert camera.width / camera.height == pytest.approx(width / height, rel=0.01)
    assert camera.width <= 2 * width
    np.testing.assert_allclose(camera.position, START.position, atol=1e-6)
    assert shown.std() > 0.1
    assert psnr(shown, our_picture(page_file, camera)) > 38


@pytest.mark.parametrize(("degree", "antialias"), [(0, True), (1, False), (2, False), (3, True)])
def test_every_degree(
    open_page: Callable[..., Any], make_page: Callable[..., Path], degree: int, antialias: bool
) -> None:
    path = make_page(make_splats(600, degree, antialias=antialias))
    shown, camera = picture(open_page(path, SMALL))
    assert shown.std() > 0.1
    assert psnr(shown, our_picture(path, camera)) > 38


def test_from_within_the_scene(open_page: Callable[..., Any], page_file: Path) -> None:
    """Splats beside and behind the viewer: culling and the clamp of the projection."""
    page = open_page(page_file, SMALL)
    page.keyboard.press("m")
    page.keyboard.down("w")
    for _ in range(400):
        if np.linalg.norm(page.evaluate("window.__sparse3d.pose().position")) < 1.2:
            break
        page.wait_for_timeout(50)
    page.keyboard.up("w")
    shown, camera = picture(page)
    assert np.linalg.norm(camera.position) < 1.3
    assert psnr(shown, our_picture(page_file, camera)) > 33


HEADSET = """
window.isHeadset = true;
class FakeSession extends EventTarget {
  updateRenderState() { return Promise.resolve(); }
  requestReferenceSpace() { return Promise.resolve({}); }
  requestAnimationFrame(callback) {
    return requestAnimationFrame((now) => {
      const eye = (x, side) => ({
        transform: { matrix: new Float32Array([1,0,0,0, 0,1,0,0, 0,0,1,0, x,0,0,1]) },
        projectionMatrix: new Float32Array([2,0,0,0, 0,2,0,0, side,0,-1,-1, 0,0,-0.1,0]), side,
      });
      callback(now, { getViewerPose: () => ({ views: [eye(-0.1, -0.2), eye(0.1, 0.2)] }) });
      window.stereo = document.getElementById("view").toDataURL();
    });
  }
}
Object.defineProperty(navigator, "xr", { value: {
  isSessionSupported: async () => true,
  requestSession: async () => (window.session = new FakeSession()),
} });
WebGL2RenderingContext.prototype.makeXRCompatible = async () => undefined;
window.XRWebGLLayer = class {
  constructor(session, gl) { this.gl = gl; this.framebuffer = null; }
  getViewport(view) {
    const width = this.gl.drawingBufferWidth / 2, height = this.gl.drawingBufferHeight;
    return { x: view.side < 0 ? 0 : width, y: 0, width, height };
  }
};
"""


def test_two_eyes(open_page: Callable[..., Any], page_file: Path) -> None:
    """A made headset: one half of the target for each eye, the right eye farther to the right."""
    page = open_page(page_file, SMALL, HEADSET)
    page.locator("#vr").click()
    page.wait_for_timeout(100)
    for _ in range(100):
        stereo = page.evaluate("window.stereo")
        pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(stereo.split(",")[1]))).convert("RGB")) / 255
        if pixels.std() > 0.1:
            break
        page.wait_for_timeout(50)
    left, right = np.split(pixels, 2, axis=1)
    assert left.std() > 0.1
    assert right.std() > 0.1
    assert 5 < psnr(left, right) < 25
    page.evaluate("window.session.dispatchEvent(new Event('end'))")
    shown, camera = picture(page)
    assert psnr(shown, our_picture(page_file, camera)) > 38


def test_no_headset_no_button(open_page: Callable[..., Any], page_file: Path) -> None:
    assert not open_page(page_file, SMALL).locator("#vr").is_visible()
