# SPDX-License-Identifier: Apache-2.0
"""Pages in trouble say what is wrong; hostile titles are only titles."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.browser.conftest import PATIENCE_MS, make_splats, picture

SMALL: dict[str, Any] = {"viewport": {"width": 480, "height": 320}}
HOSTILE = """</script><img src=x onerror="window.hacked=1"><script>window.hacked=1</script>{{SCENE}}'&"""


def message(page: Any) -> str:
    assert page.locator("#message").is_visible()
    return page.locator("#message p").inner_text()


def test_hostile_title(open_page: Callable[..., Any], make_page: Callable[..., Path]) -> None:
    path = make_page(make_splats(200), title=HOSTILE)
    page = open_page(path, SMALL)
    assert page.evaluate("document.documentElement.dataset.state") == "ready"
    assert page.title() == HOSTILE
    assert page.locator("h1").inner_text() == HOSTILE
    assert page.evaluate("window.hacked") is None
    assert page.locator("img").count() == 0
    assert picture(page)[0].std() > 0.02


def test_the_policy_stops_what_is_put_into_the_page(open_page: Callable[..., Any], page_file: Path) -> None:
    listen = (
        "window.refused = []; addEventListener('securitypolicyviolation', (e) => refused.push(e.effectiveDirective))"
    )
    page = open_page(page_file, SMALL, listen)
    assert page.evaluate("window.refused") == []
    page.evaluate(
        """async () => {
          const script = document.createElement('script'); script.textContent = 'window.hacked = 1';
          document.body.append(script);
          const image = document.createElement('img'); image.src = 'https://example.com/x.png';
          document.body.append(image);
          await fetch('https://example.com/').catch(() => 0);
          await new Promise((done) => setTimeout(done, 50));
        }"""
    )
    assert page.evaluate("window.hacked") is None
    assert sorted(page.evaluate("window.refused")) == ["connect-src", "img-src", "script-src-elem"]


def test_no_webgl(launch: Callable[..., Any], page_file: Path) -> None:
    browser = launch("--disable-3d-apis")
    page = browser.new_page(viewport=SMALL["viewport"])
    page.goto(page_file.as_uri())
    page.wait_for_selector("html[data-state=failed]", state="attached", timeout=PATIENCE_MS)
    assert message(page).startswith("This scene needs WebGL 2, which this browser does not offer")
    browser.close()


def test_no_scripts(browser: Any, page_file: Path) -> None:
    context = browser.new_context(java_script_enabled=False, **SMALL)
    page = context.new_page()
    page.goto(page_file.as_uri())
    assert "open the page from any https address" in page.locator("noscript").inner_text()
    context.close()


def test_old_browser(open_page: Callable[..., Any], page_file: Path) -> None:
    page = open_page(page_file, SMALL, "delete window.DecompressionStream")
    assert message(page).startswith("This browser is too old for this page")


def test_lost_context(open_page: Callable[..., Any], page_file: Path) -> None:
    page = open_page(page_file, SMALL)
    page.evaluate(
        "document.getElementById('view').getContext('webgl2').getExtension('WEBGL_lose_context').loseContext()"
    )
    page.wait_for_selector("html[data-state=failed]", state="attached")
    assert message(page).startswith("The browser took the graphics memory away")
    page.locator("#message button").click()
    page.wait_for_selector("html[data-state=ready]", state="attached")


def test_damaged_scene_and_damaged_player(open_page: Callable[..., Any], page_file: Path, tmp_path: Path) -> None:
    text = page_file.read_text(encoding="utf-8")
    bad = tmp_path / "bad.html"
    start = text.index("data-scene>") + len("data-scene>")
    bad.write_text(text[: start + 4000] + "A" * 400 + text[start + 4400 :], encoding="utf-8")
    assert re.fullmatch(
        "The scene in this page cannot be shown: its compressed bytes are damaged or cut off.",
        message(open_page(bad, SMALL)),
    )
    bad.write_text(re.sub(r'id="code">.{80}', 'id="code">', text), encoding="utf-8")
    assert message(open_page(bad, SMALL)).startswith("This page is damaged")
