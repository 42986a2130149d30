# SPDX-License-Identifier: Apache-2.0
"""A page whose photos looked at one side: the view gives way beyond it and comes back. A report that scrolls."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sparse3d.formats.html.options import Below, Reach
from tests.browser.conftest import DESKTOP, make_splats
from tests.browser.test_handling import SMALL, TOUCH, Fingers, pose, wait_for_pose

REACH = Reach((-10.0, 5.0), (-60.0, 60.0), (2.0, 5.0), 0.3)
BELOW = Below("<main><p>" + "words " * 4000 + "</p></main>", "main { padding: 20px; }")


@pytest.fixture(scope="module")
def limited(make_page: Callable[..., Path]) -> Path:
    return make_page(make_splats(200), reach=REACH)


@pytest.fixture(scope="module")
def scrolling(make_page: Callable[..., Path]) -> Path:
    return make_page(make_splats(200), reach=REACH, below=BELOW)


def at_rest(page: Any) -> dict[str, Any]:
    last = pose(page)
    for _ in range(60):
        page.wait_for_timeout(500)
        if (now := pose(page)) == last:
            return now
        last = now
    raise AssertionError(f"the view never came to rest; it is at {last}")


def wait_for_scroll(page: Any, holds: Callable[[float], bool]) -> None:
    # The page's policy forbids the driver's own way to wait, which evaluates a text.
    for _ in range(200):
        if holds(page.evaluate("scrollY")):
            return
        page.wait_for_timeout(25)
    raise AssertionError(f"the page is scrolled to {page.evaluate('scrollY')}")


def scrolled_to_rest(page: Any) -> float:
    """Where the page stands when a swipe's own momentum has ended."""
    last = page.evaluate("scrollY")
    for _ in range(60):
        page.wait_for_timeout(500)
        if (now := page.evaluate("scrollY")) == last:
            return now
        last = now
    raise AssertionError(f"the page never stopped scrolling; it is at {last}")


@pytest.mark.parametrize("settings", [SMALL, {**SMALL, "reduced_motion": "no-preference"}])
def test_a_drag_beyond_the_photos_comes_back(
    open_page: Callable[..., Any], limited: Path, settings: dict[str, Any]
) -> None:
    page = open_page(limited, settings)
    page.mouse.move(100, 150)
    page.mouse.down()
    page.mouse.move(400, 150, steps=6)
    beyond = wait_for_pose(page, lambda p: p["yaw"] > math.radians(7))
    assert beyond["yaw"] < math.radians(40), "of about 170 degrees that the hand went"
    page.mouse.up()
    assert at_rest(page)["yaw"] == pytest.approx(math.radians(5), abs=1e-3)


def test_wheel_keys_and_fingers_come_back_too(open_page: Callable[..., Any], limited: Path) -> None:
    page = open_page(limited, SMALL)
    page.mouse.move(200, 150)
    for _ in range(8):
        page.mouse.wheel(0, 240)
    wait_for_pose(page, lambda p: p["distance"] > 5.01)
    assert at_rest(page)["distance"] == pytest.approx(5.0, rel=1e-3)
    page.keyboard.down("ArrowRight")
    wait_for_pose(page, lambda p: p["yaw"] < math.radians(-11))
    page.keyboard.up("ArrowRight")
    assert at_rest(page)["yaw"] == pytest.approx(math.radians(-10), abs=1e-3)
    phone = open_page(limited, TOUCH)
    touch = Fingers(phone)
    touch("touchStart", (200, 400))
    for step in range(1, 6):
        touch("touchMove", (200 + 30 * step, 400))
    wait_for_pose(phone, lambda p: p["yaw"] > math.radians(6))
    touch("touchEnd")
    assert at_rest(phone)["yaw"] == pytest.approx(math.radians(5), abs=1e-3)


def test_who_flies_may_go_anywhere(open_page: Callable[..., Any], limited: Path) -> None:
    page = open_page(limited, SMALL)
    page.keyboard.press("m")
    page.keyboard.down("ArrowRight")
    wait_for_pose(page, lambda p: p["yaw"] > math.radians(60))
    page.keyboard.up("ArrowRight")
    assert at_rest(page)["yaw"] > math.radians(60)
    page.keyboard.press("m")
    assert at_rest(page)["yaw"] == pytest.approx(math.radians(5), abs=1e-3)


def test_a_report_scrolls_until_the_scene_is_clicked(open_page: Callable[..., Any], scrolling: Path) -> None:
    page = open_page(scrolling, DESKTOP)
    first = pose(page)
    page.mouse.move(600, 200)
    page.mouse.wheel(0, 300)
    wait_for_scroll(page, lambda y: y > 100)
    assert pose(page) == first
    page.keyboard.press("ArrowLeft")
    assert scrolled_to_rest(page) > 100
    page.evaluate("scrollTo(0, 0)")
    assert scrolled_to_rest(page) == 0
    assert pose(page) == first
    page.mouse.click(600, 200)
    page.mouse.wheel(0, -200)
    wait_for_pose(page, lambda p: p["distance"] < first["distance"])
    assert page.evaluate("scrollY") == 0


def test_a_report_on_a_phone(open_page: Callable[..., Any], scrolling: Path) -> None:
    page = open_page(scrolling, TOUCH)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert page.evaluate("document.getElementById('stage').clientHeight") == pytest.approx(844 * 0.68, abs=1)
    first, touch = pose(page), Fingers(page)
    touch("touchStart", (200, 400))
    for step in range(1, 9):
        touch("touchMove", (200, 400 - 30 * step))
    touch("touchEnd")
    wait_for_scroll(page, lambda y: y > 50)
    assert at_rest(page)["pitch"] == pytest.approx(first["pitch"], abs=0.1)
    assert scrolled_to_rest(page) > 50
    page.evaluate("scrollTo(0, 0)")
    assert scrolled_to_rest(page) == 0
    touch("touchStart", (250, 300))
    for step in range(1, 6):
        touch("touchMove", (250 - 20 * step, 300))
    wait_for_pose(page, lambda p: p["yaw"] < first["yaw"] - math.radians(5))
    touch("touchEnd")
    assert page.evaluate("scrollY") == 0
