# SPDX-License-Identifier: Apache-2.0
"""Fingers, mouse, keys and buttons of a page."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.browser.conftest import PHONE, make_splats, picture, psnr

# Small for speed; the rest is a phone.
TOUCH = {**PHONE, "device_scale_factor": 1}
SMALL: dict[str, Any] = {"viewport": {"width": 480, "height": 320}, "reduced_motion": "reduce"}


def pose(page: Any) -> dict[str, Any]:
    return page.evaluate("window.__sparse3d.pose()")


def wait_for_pose(page: Any, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    for _ in range(200):
        if holds(now := pose(page)):
            return now
        page.wait_for_timeout(25)
    raise AssertionError(f"the view never came to where it was sent; it is at {pose(page)}")


class Fingers:
    """Touches of several fingers at once, which the driver has only in Chromium's own protocol."""

    def __init__(self, page: Any) -> None:
        self._session = page.context.new_cdp_session(page)

    def __call__(self, kind: str, *points: tuple[float, float]) -> None:
        spots = [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(points)]
        self._session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": spots})


def test_one_finger_turns(open_page: Callable[..., Any], page_file: Path) -> None:
    page = open_page(page_file, TOUCH)
    before, start, touch = pose(page), picture(page)[0], Fingers(page)
    touch("touchStart", (200, 400))
    for step in range(1, 6):
        touch("touchMove", (200 + 20 * step, 400 + 6 * step))
    after = wait_for_pose(page, lambda p: p["yaw"] > before["yaw"] + 0.3)
    touch("touchEnd")
    assert after["pitch"] < before["pitch"]
    assert after["distance"] == pytest.approx(before["distance"])
    assert psnr(picture(page)[0], start) < 25


def test_two_fingers_zoom_and_move(open_page: Callable[..., Any], page_file: Path) -> None:
    page = open_page(page_file, TOUCH)
    before, touch = pose(page), Fingers(page)
    touch("touchStart", (150, 400), (250, 400))
    touch("touchMove", (100, 400), (300, 400))
    after = wait_for_pose(page, lambda p: p["distance"] < 0.6 * before["distance"])
    touch("touchMove", (100, 500), (300, 500))
    moved = wait_for_pose(page, lambda p: p["position"] != after["position"])
    touch("touchEnd")
    assert moved["yaw"] == before["yaw"]
    assert moved["distance"] == pytest.approx(after["distance"], rel=0.05)


def test_mouse_wheel_and_reset(open_page: Callable[..., Any], page_file: Path) -> None:
    page = open_page(page_file, SMALL)
    first = pose(page)
    page.mouse.move(200, 150)
    page.mouse.wheel(0, -300)
    wait_for_pose(page, lambda p: p["distance"] < first["distance"])
    page.mouse.down(button="right")
    page.mouse.move(260, 150)
    page.mouse.up(button="right")
    panned = wait_for_pose(page, lambda p: p["position"] != first["position"])
    assert panned["yaw"] == first["yaw"]
    page.mouse.down()
    page.mouse.move(300, 180)
    page.mouse.up()
    wait_for_pose(page, lambda p: p["yaw"] != first["yaw"])
    page.locator("#reset").click()
    # Less motion was asked for: no travel back, and no gliding on.
    assert pose(page) == first


def test_keys(open_page: Callable[..., Any], page_file: Path) -> None:
    page = open_page(page_file, SMALL)
    first = pose(page)
    for key, changed in (("ArrowLeft", "yaw"), ("ArrowUp", "pitch"), ("d", "position"), ("+", "distance")):
        page.keyboard.down("Equal" if key == "+" else key)
        wait_for_pose(page, lambda p, name=changed: p[name] != first[name])
        page.keyboard.up("Equal" if key == "+" else key)
    page.keyboard.press("r")
    assert pose(page) == first
    page.keyboard.press("m")
    assert page.locator("#mode").get_attribute("aria-pressed") == "true"
    page.keyboard.down("ArrowLeft")
    turned = wait_for_pose(page, lambda p: p["yaw"] != first["yaw"])
    page.keyboard.up("ArrowLeft")
    assert turned["position"] == first["position"], "in fly mode the view turns on the spot"
    page.keyboard.press("h")
    assert page.locator("#about").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator("#about").is_visible()


def test_still_page_draws_nothing(open_page: Callable[..., Any], page_file: Path) -> None:
    page = open_page(page_file, SMALL)
    frames = -1
    for _ in range(100):
        page.wait_for_timeout(400)
        last, frames = frames, int(page.evaluate("document.documentElement.dataset.frames"))
        if frames == last:
            return
    raise AssertionError(f"nobody touched the page and it drew {frames} frames")


def test_focus_order_names_and_sizes(open_page: Callable[..., Any], page_file: Path) -> None:
    page = open_page(page_file, TOUCH)
    seen = []
    for _ in range(5):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.id"))
    assert seen == ["view", "mode", "reset", "help", "full"]
    for button in page.locator("#bar button:visible").all():
        box = button.bounding_box()
        assert box["width"] >= 44
        assert box["height"] >= 44
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390
        assert button.get_attribute("aria-label")
    assert page.locator("#view").get_attribute("aria-label") == "Cloud"
    page.locator("#help").click()
    box = page.locator("#about").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390
    assert "1,500 splats, colours of degree 3" in page.locator("#about").inner_text()
    assert np.isfinite(list(box.values())).all()


def test_full_screen(open_page: Callable[..., Any], page_file: Path) -> None:
    page = open_page(page_file, SMALL)
    for pressed in ("true", "false"):
        page.locator("#full").click()
        page.wait_for_selector(f"#full[aria-pressed={pressed}]")
        assert page.evaluate("document.fullscreenElement !== null") == (pressed == "true")


WATCH = """
window.said = []; window.bars = [];
new MutationObserver(() => {
  const status = document.getElementById("status"), bar = document.getElementById("progress");
  if (!status || !bar) return;
  if (said.at(-1) !== status.textContent) said.push(status.textContent);
  if (bar.hasAttribute("value")) bars.push(bar.value);
}).observe(document, { childList: true, subtree: true, characterData: true, attributes: true });
"""


def test_poster_and_progress_until_the_scene_is_there(
    open_page: Callable[..., Any], make_page: Callable[..., Path]
) -> None:
    out = io.BytesIO()
    Image.new("RGB", (60, 60), (250, 40, 40)).save(out, "PNG")
    page = open_page(make_page(make_splats(6000), poster=out.getvalue()), SMALL, WATCH)
    said, bars = page.evaluate("[said, bars]")
    assert said[:2] == ["Loading", "Unpacking 0 %"]
    assert said[-1] == "Nearly there"
    assert bars == sorted(bars)
    assert not page.locator("#loading").is_visible()
    poster = page.locator("#poster")
    assert poster.evaluate("(image) => image.naturalWidth") == 60
    assert poster.evaluate("(image) => getComputedStyle(image).opacity") == "0"
    page.evaluate("document.documentElement.dataset.state = 'loading'")
    assert float(poster.evaluate("(image) => getComputedStyle(image).opacity")) > 0.3
    assert page.locator("#progress").is_visible()


def test_less_motion(open_page: Callable[..., Any], page_file: Path) -> None:
    page = open_page(page_file, SMALL)
    seconds = page.evaluate(
        "[...document.querySelectorAll('*')].map((e) => parseFloat(getComputedStyle(e).transitionDuration))"
    )
    assert max(seconds) == 0
