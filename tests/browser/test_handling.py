# SPDX-License-Identifier: Apache-2.0
"""Fingers, mouse, keys and buttons of a page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.browser.conftest import PHONE, picture, psnr

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
