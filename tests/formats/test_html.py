# SPDX-License-Identifier: Apache-2.0
"""HTML pages without a browser: what is in them, what is not, and reading them back. tests/browser opens them."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import io
import json
import re
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sparse3d import formats
from sparse3d.camera import Camera
from sparse3d.errors import BackendError, DataError, UsageError
from sparse3d.formats import FORMATS, WriteOptions
from sparse3d.formats.html import page as html_page
from sparse3d.formats.html.options import Below, PageOptions, Reach, StartCamera, start_of_splats
from tests.formats import fuzz
from tests.formats.makers import make_splats

HOSTILE = """</script><img src=x onerror=alert(1)><!-- {{SCENE}} "'&\u2028\0\n\udcff name"""


def made(tmp_path: Path, page: PageOptions | None = None, **options: object) -> str:
    path = tmp_path / "scene.html"
    formats.write(path, make_splats(), WriteOptions(page=page, **options))  # type: ignore[arg-type]
    return path.read_text(encoding="utf-8")


def without_data(page: str) -> str:
    """The page without base64, in which any pair of letters can come up."""
    return re.sub(r"[A-Za-z0-9+/]{200,}={0,2}", "", page)


def scripts(page: str) -> tuple[list[str], str]:
    """The texts that run: the first script as it stands, and the player inflated; and the style."""
    plain = re.findall(r"<script>(.*?)</script>", page, re.S)
    code = base64.b64decode(re.findall(r'id="code">([^<]*)<', page)[0])
    style = re.findall(r"<style>(.*?)</style>", page, re.S)
    assert len(plain) == len(style) == 1
    return [plain[0], zlib.decompress(code, -15).decode("utf-8")], style[0]


def test_the_policy_names_what_runs_and_nothing_else(tmp_path: Path) -> None:
    page = made(tmp_path)
    texts, style = scripts(page)
    content = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)[0]
    rules = dict(rule.split(" ", 1) for rule in content.split("; "))

    def source(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    assert rules == {
        "default-src": "'none'",
        "script-src": f"{source(texts[0])} {source(texts[1])}",
        "style-src": source(style),
        "worker-src": "blob:",
        "img-src": "data: blob:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    assert page.index("Content-Security-Policy") < page.index("<style>") < page.index("<script")
    for forbidden in (r"\son\w+\s*=", r"\sstyle\s*=", "javascript:"):
        assert not re.search(forbidden, re.sub(r"<(script|style).*?</\1>", "", page, flags=re.S)), forbidden


def test_no_host_and_no_path(tmp_path: Path) -> None:
    page = made(tmp_path, PageOptions(title="Fox"))
    everything = without_data(page) + "".join(scripts(page)[0])
    assert not re.search(r"\b(https?|wss?|ftp|file):", everything)
    assert not re.search(r"(src|href|action)\s*=\s*[\"']?(?!data:)[\w/.]", without_data(page))
    assert "url(" not in page
    assert str(tmp_path) not in everything
    assert not re.search(r"/(home|root|tmp|work|Users)/", everything)


def test_what_the_player_needs_of_a_browser(tmp_path: Path) -> None:
    """WebGL 2 and workers from blobs: nothing that needs a server's headers, no module by its address."""
    code = "".join(scripts(made(tmp_path))[0])
    assert "SharedArrayBuffer" not in code
    assert not re.search(r"\bimport\s*[({\"']|importScripts|type:\s*.module|\beval\(|new Function", code)
    assert "createObjectURL" in code
    assert "webgl2" in code
    assert not re.search(r"\bfetch\(|XMLHttpRequest|WebSocket|sendBeacon|localStorage|indexedDB|cookie", code)


def test_licences(tmp_path: Path, repo: Path) -> None:
    page = made(tmp_path)
    assert page.count("Apache-2.0") >= 2, "in the source and in the page's own words"
    notices = (repo / "THIRD_PARTY_NOTICES").read_text(encoding="utf-8")
    assert "In the pages that `html` exports" in notices
    names = json.loads((repo / "viewer" / "player" / "package.json").read_text(encoding="utf-8"))
    assert "dependencies" not in names, "what is bundled must be named in THIRD_PARTY_NOTICES and in the page"


def test_hostile_title(tmp_path: Path) -> None:
    page = made(tmp_path, PageOptions(title=HOSTILE))
    plain = made(tmp_path, PageOptions(title="x"))
    for tag in ("<script", "</script", "<img", "<!--", "data-scene>"):
        assert page.count(tag) == plain.count(tag), tag
    title = re.findall("<title>(.*?)</title>", page, re.S)[0]
    assert title.startswith("&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;&lt;!-- {{SCENE}} &quot;&#x27;&amp;")
    assert title.endswith(" name")
    assert made(tmp_path, PageOptions(title="\n")).count("<title>Splat scene</title>") == 1


def test_data_in_a_script_element() -> None:
    value = {"a": "</script><!-- & \u2028", "b": [1.5, None]}
    text = html_page.data_json(value)
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == value


def test_size_and_determinism(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (1500, 2000, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(noise).save(out, "PNG")
    page = made(tmp_path, PageOptions(poster=out.getvalue()))
    scene = sum(len(block) for block in re.findall("data-scene>([^<]*)<", page))
    assert 0 < len(page) - scene < 1_500_000
    assert len(made(tmp_path)) < 60_000
    assert made(tmp_path) == made(tmp_path)


def test_poster_loses_its_metadata(tmp_path: Path) -> None:
    image = Image.new("RGB", (40, 20), (200, 30, 30))
    exif = Image.Exif()
    exif[0x010F] = "secret maker"
    exif[0x0112] = 6
    out = io.BytesIO()
    image.save(out, "JPEG", exif=exif)
    page = made(tmp_path, PageOptions(poster=out.getvalue()))
    poster = base64.b64decode(re.findall(r"data:image/webp;base64,([^\"]*)", page)[0])
    assert b"secret" not in poster
    shown = Image.open(io.BytesIO(poster))
    assert shown.size == (20, 40), "the picture was turned as its orientation said"
    assert not shown.getexif()
    with pytest.raises(UsageError, match=r"poster \(5 bytes\) is not a picture"):
        made(tmp_path, PageOptions(poster=b"hello"))


def test_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(html_page, "_BLOCK", 400)
    page = made(tmp_path, sh_degree=2)
    assert page.count("data-scene>") > 3
    found = formats.read(tmp_path / "scene.html")
    formats.write(tmp_path / "scene.spz", make_splats(), WriteOptions(sh_degree=2))
    direct = formats.read(tmp_path / "scene.spz")
    options = WriteOptions(sh_degree=2)
    for other in (direct, FORMATS["html"].quantised(make_splats(), options)):
        assert all(torch.equal(a, b) for (_, a), (_, b) in zip(found.named(), other.named()))
    notes = formats.write(tmp_path / "four.html", make_splats(degree=4))
    assert notes == ("spherical harmonics above degree 3 were dropped (the splats have degree 4)",)
    assert formats.read(tmp_path / "four.html").sh_degree == 3
    with pytest.raises(UsageError, match="html cannot be written as version 4"):
        formats.write(tmp_path / "four.html", make_splats(), WriteOptions(version=4))


def test_damaged_pages_are_refused(tmp_path: Path) -> None:
    data = made(tmp_path).encode("utf-8")
    path = tmp_path / "bad.html"
    start = data.index(b"data-scene>") + len(b"data-scene>")

    def refused(changed: bytes, words: str) -> None:
        path.write_bytes(changed)
        with pytest.raises(DataError, match=words):
            formats.read(path)

    for length in (*range(0, len(data), 211), len(data) - 1):
        refused(data[:length], "bad.html")
    refused(data + b"x", "do not end with </html>")
    refused(data[:start] + data[start + 4 :], "the page says")
    refused(data[:start] + b"AAAA" + data[start + 4 :], "bad.html")
    refused(data[:start] + b"=" + data[start + 1 :], "the page says")
    refused(data.replace(b'id="meta">{', b'id="meta">['), "size of the scene is missing")
    refused(b"<!doctype html>\n<title>Somebody's page</title>\n" + b"</body>\n</html>\n", "not a file of splats")


def test_seeded_damage(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    counts = fuzz.check(fuzz.page_file(tmp_path / "in"), 60, 7, tmp_path)
    assert counts["refused"] > 10
    assert counts["read"] > 5, "damage to the player leaves the splats whole"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"position": (float("nan"), 0.0, 0.0)}, "three finite vectors"),
        ({"target": (0.0, 0.0, -3.0)}, "stands in its target"),
        ({"up": (0.0, 0.0, 0.0)}, "no up direction"),
        ({"fov": 170.0}, "170.0 degrees, expected 5 to 150"),
    ],
)
def test_impossible_first_camera(change: dict[str, object], words: str) -> None:
    good = StartCamera((0.0, 0.0, -3.0), (0.0, 0.0, 0.0), (0.0, -1.0, 0.0))
    with pytest.raises(UsageError, match=words):
        dataclasses.replace(good, **change)  # type: ignore[arg-type]


def test_first_camera_of_splats_alone() -> None:
    splats = make_splats(400)
    pose = np.eye(4)
    own = start_of_splats(splats)
    assert own.target == pytest.approx((0.3, -0.7, 1.9), abs=0.3)
    pose[:3, 3] = -np.array(own.position)
    focal = 200 / np.tan(np.radians(own.fov) / 2)
    pixels, depths = Camera(400, 400, focal, focal, 200.0, 200.0, pose).project(splats.means.numpy())
    seen = (depths > 0) & (np.abs(pixels - 200) < 200).all(axis=1)
    assert 0.6 < seen.mean() < 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"yaw": (5.0, -5.0)}, "lower bound above its upper one"),
        ({"pitch": (0.0, float("inf"))}, "must be finite"),
        ({"distance": (0.0, 2.0)}, "distances above 0"),
        ({"shift": -1.0}, "a shift of 0 or more"),
    ],
)
def test_impossible_reach(change: dict[str, object], words: str) -> None:
    good = Reach(None, (-10.0, 20.0), (1.0, 4.0), 0.5)
    with pytest.raises(UsageError, match=words):
        dataclasses.replace(good, **change)  # type: ignore[arg-type]


def meta(page: str) -> dict[str, object]:
    return json.loads(re.findall(r'id="meta">([^<]*)<', page)[0])


def test_reach_is_in_the_page_in_radians(tmp_path: Path) -> None:
    reach = Reach((-90.0, 45.0), (-10.0, 20.0), (1.0, 4.0), 0.5)
    found = meta(made(tmp_path, PageOptions(reach=reach)))["reach"]
    assert found == {
        "yaw": pytest.approx([-np.pi / 2, np.pi / 4]),
        "pitch": pytest.approx([-np.pi / 18, np.pi / 9]),
        "distance": [1.0, 4.0],
        "shift": 0.5,
    }
    around = meta(made(tmp_path, PageOptions(reach=dataclasses.replace(reach, yaw=None))))["reach"]
    assert isinstance(around, dict)
    assert around["yaw"] is None
    assert meta(made(tmp_path))["reach"] is None


def test_below_the_scene(tmp_path: Path) -> None:
    alone = made(tmp_path)
    assert 'data-kind="scene"' in alone
    page = made(tmp_path, PageOptions(below=Below("<main>{{SCENE}} words</main>", "main { color: red; }")))
    assert "<main>{{SCENE}} words</main>" in page
    assert 'data-kind="report"' in page
    style = scripts(page)[1]
    assert style.endswith("main { color: red; }")
    assert base64.b64encode(hashlib.sha256(style.encode()).digest()).decode() in page
    assert formats.read(tmp_path / "scene.html").num_splats == make_splats().num_splats


def test_how_to_open(tmp_path: Path) -> None:
    made(tmp_path)
    text = html_page.how_to_open(tmp_path / "scene.html")
    for words in ("Computer: double click", "Android: open it with Chrome", "iPhone", "https", "(0.0 MB)"):
        assert words in text


def test_player_not_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(html_page, "player_folder", lambda: tmp_path)
    with pytest.raises(BackendError, match="scripts/do player"):
        made(tmp_path)


def test_player_is_built_from_these_sources(repo: Path) -> None:
    """dist/ is committed; `python scripts/do player` makes it anew."""
    player = repo / "viewer" / "player"
    names = ["build.mjs", "package-lock.json", "tsconfig.json", *(f"src/{p.name}" for p in (player / "src").iterdir())]
    digest = hashlib.sha256()
    for name in sorted(names):
        digest.update(name.encode() + b"\0" + (player / name).read_bytes().replace(b"\r\n", b"\n") + b"\0")
    stored = (player / "dist" / "sources.sha256").read_text(encoding="utf-8").strip()
    assert stored == digest.hexdigest(), "viewer/player changed: python scripts/do player"
    assert sum(p.stat().st_size for p in (player / "dist").iterdir()) < 1_500_000
    assert "resolved" not in (player / "package-lock.json").read_text(encoding="utf-8")
