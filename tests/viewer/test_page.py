# SPDX-License-Identifier: Apache-2.0
"""The live viewer as a user sees it: in a browser."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from tests.browser.conftest import DESKTOP, psnr
from tests.viewer.conftest import shown, wait_until


def settle(tab: Any) -> np.ndarray:
    """The picture once it stands still."""
    kept: list[np.ndarray] = [shown(tab)]

    def still() -> bool:
        before = kept[0]
        kept[0] = shown(tab)
        return float(np.abs(before - kept[0]).max()) < 3

    wait_until(tab, still)
    return kept[0]


def choose(tab: Any, label: str, option: str) -> None:
    tab.get_by_text(label, exact=True).locator("xpath=following::input[1]").click(timeout=20_000)
    tab.get_by_role("option", name=option, exact=True).click(timeout=20_000)


def of_client(page: Any) -> Any:
    """The browser that came last."""
    return page._pages()[-1]


def expected(page: Any, mode: str = "Colour") -> np.ndarray:
    """What the browser should show at rest, by our renderer from where viser says that it looks."""
    cameras, modes = (importlib.import_module(f"sparse3d.viewer.{name}") for name in ("cameras", "modes"))
    # viser's page lowers its own number of pixels on a slow machine, and stretches the picture.
    seen = replace(of_client(page).seen(), width=DESKTOP["viewport"]["width"], height=DESKTOP["viewport"]["height"])
    camera = cameras.camera_of(seen, 1 << 30)
    picture = modes.draw(page.splats_for(mode), camera, modes.Look(mode)).image.astype(np.float64)
    return picture[190:, : round(picture.shape[1] * 0.7)]


def test_the_picture_is_ours_before_and_after_an_orbit(page: Any, open_viewer: Callable[..., Any]) -> None:
    tab = open_viewer()
    of_client(page).show_frames(False)
    wait_until(tab, lambda: psnr(shown(tab) / 255, expected(page) / 255) > 24)
    first = settle(tab)
    tab.mouse.move(400, 450)
    tab.mouse.down()
    for step in range(10):
        tab.mouse.move(400 + 12 * step, 450)
    tab.mouse.up()
    wait_until(tab, lambda: float(np.abs(shown(tab) - first).mean()) > 5)
    wait_until(tab, lambda: psnr(shown(tab) / 255, expected(page) / 255) > 24)
    assert psnr(shown(tab) / 255, first / 255) < 22
    tab.keyboard.press("h")
    wait_until(tab, lambda: psnr(shown(tab) / 255, first / 255) > 24)
    assert page.said == []


def test_modes_change_the_picture(page: Any, open_viewer: Callable[..., Any]) -> None:
    tab = open_viewer()
    of_client(page).show_frames(False)
    settle(tab)
    for mode in ("Depth", "Normals", "Opacity", "Ellipsoids", "Points"):
        before = shown(tab)
        choose(tab, "Show", mode)
        wait_until(tab, lambda: float(np.abs(shown(tab) - before).mean()) > 2)  # noqa: B023
        wait_until(tab, lambda: psnr(shown(tab) / 255, expected(page, mode) / 255) > 22)  # noqa: B023


def test_two_browsers_have_their_own_place(page: Any, open_viewer: Callable[..., Any]) -> None:
    one, two = open_viewer(), open_viewer()
    still = settle(two)
    one.mouse.move(400, 450)
    one.mouse.wheel(0, -800)
    wait_until(one, lambda: float(np.abs(shown(one) - still).mean()) > 5)
    assert float(np.abs(settle(two) - still).mean()) < 1


def test_standing_at_a_photo_takes_its_camera(page: Any, open_viewer: Callable[..., Any]) -> None:
    tab = open_viewer()
    tab.get_by_role("tab", name="Photos").click()
    choose(tab, "Stand at", "photo4.jpg")
    wanted = page.subject.cameras[4].camera

    def there() -> bool:
        seen = of_client(page).seen()
        return bool(np.allclose(seen.world_from_cam, wanted.world_from_cam, atol=1e-3 * page.subject.size))

    wait_until(tab, there)
    tab.get_by_text("the view stands where it was taken").wait_for()


def test_page_of_a_phone_has_the_panels(page: Any, open_viewer: Callable[..., Any]) -> None:
    tab = open_viewer({"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True})
    width = tab.evaluate("document.documentElement.scrollWidth")
    assert width <= 390
    assert tab.get_by_text("sparse3d").first.is_visible()


def test_page_told_to_obey_another_server_is_refused(page: Any, open_viewer: Callable[..., Any]) -> None:
    tab = open_viewer()
    answer = tab.goto(f"http://127.0.0.1:{page.served.port}/?websocket=ws://127.0.0.1:1")
    assert answer.status == 400


def test_script_of_the_page_reaches_no_other_server(page: Any, open_viewer: Callable[..., Any]) -> None:
    tab = open_viewer()
    blocked = tab.evaluate(
        """() => new Promise(done => {
            document.addEventListener("securitypolicyviolation", event => done(event.effectiveDirective));
            try { new WebSocket("ws://127.0.0.1:1"); } catch (error) { }
            setTimeout(() => done("nothing"), 3000);
        })"""
    )
    assert blocked == "connect-src"
