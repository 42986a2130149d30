# SPDX-License-Identifier: Apache-2.0
"""A headless Chromium with software WebGL, one for all tests of a process: playwright cannot be started twice."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import pytest

SOFTWARE_WEBGL = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist")


def without_browser(reason: str) -> NoReturn:
    """A skip; a failure where SPARSE3D_BROWSER=required, as in CI after it has installed one."""
    if os.environ.get("SPARSE3D_BROWSER") == "required":
        pytest.fail(f"{reason}, and SPARSE3D_BROWSER=required")
    pytest.skip(reason)


def chromium() -> str:
    """Path of a Chromium on this machine; skips the calling test where there is none."""
    named = os.environ.get("SPARSE3D_CHROMIUM")
    found = named or next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    return found or without_browser("chromium is not installed")


@pytest.fixture(scope="session")
def launch() -> Iterator[Callable[..., Any]]:
    """`launch(*flags)` starts a browser."""
    try:
        from playwright import sync_api
    except ModuleNotFoundError:
        without_browser("playwright is not installed")
    path = chromium()
    with sync_api.sync_playwright() as driver:
        # Debian's script for Chromium says things about the machine on stderr, which is none of the test's.
        yield lambda *flags: driver.chromium.launch(executable_path=path, args=list(flags))


@pytest.fixture(scope="session")
def browser(launch: Callable[..., Any]) -> Iterator[Any]:
    try:
        started = launch(*SOFTWARE_WEBGL)
    except Exception as error:
        # A browser that is there and does not start (a snap's stub, a missing library) is none.
        without_browser(f"chromium does not start: {str(error).splitlines()[0]}")
    yield started
    started.close()
