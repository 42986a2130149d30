# SPDX-License-Identifier: Apache-2.0
"""The text of a page that plays a scene by itself: the built player, the scene as base64, a policy that lets nothing
else run. The player's sources are in viewer/player/, its build (dist/) is part of the package."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
import math
import re
import warnings
import zlib
from pathlib import Path
from typing import Any

from sparse3d.errors import BackendError, UsageError
from sparse3d.formats.html.options import PageOptions, Reach, StartCamera, Vector
from sparse3d.geometry.places import Origin

# Base64 characters of one data block: a browser reads and frees them one by one. A multiple of 4.
_BLOCK = 4 << 20
_POSTER_SIDE = 1280
_BLOCK_TAG = '<script type="text/plain" data-scene>'
# What a page begins with; GENERATOR tells it from other people's.
DOCTYPE = b"<!doctype html>"
GENERATOR = b'<meta name="generator" content="sparse3d html 1">'
# A viewer with a headset stands this far from what the page turns about.
_PIVOT_METRES = 1.5
# In scenes seen from as far away as this, the player's thresholds in world units serve.
_ORDINARY = (0.0625, 2048.0)


def make_page(spz: bytes, options: PageOptions, camera: StartCamera, origin: Origin = (0.0, 0.0, 0.0)) -> bytes:
    """The page with `spz` (an SPZ file of version 3, SH degree at most 3) in it; origin: the place in the world that
    its positions are counted from. The same input gives the same bytes.

    Raises UsageError for a poster that is no picture, BackendError where the player is not installed.
    """
    parts = {name: _player_file(name) for name in ("page.html", "style.css", "boot.js", "player.js")}
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    code = deflate.compress(parts["player.js"].encode("utf-8")) + deflate.flush()
    below = options.below
    style = parts["style.css"] + ("" if below is None else below.style)
    meta = {"bytes": len(spz), "camera": _camera(camera), "reach": _reach(options.reach), "metre": _metre(camera)}
    meta["unit"] = _unit(camera)
    meta |= {"origin": list(origin)} if any(origin) else {}
    fields = {
        "CSP": policy([parts["boot.js"], parts["player.js"]], style),
        "KIND": "scene" if below is None else "report",
        "SCHEME": "dark" if below is None else "light dark",
        "TITLE": html.escape(_one_line(options.title)),
        "STYLE": style,
        "POSTER": _poster_tag(options.poster),
        "META": data_json(meta),
        "CODE": _base64(code),
        "SCENE": _scene_blocks(spz),
        "BOOT": parts["boot.js"],
        "BELOW": "" if below is None else below.markup,
    }
    # One pass, so that a title which looks like a field stays a title.
    return re.sub(r"\{\{([A-Z]+)\}\}", lambda match: fields[match[1]], parts["page.html"]).encode("utf-8")


def policy(scripts: list[str], style: str) -> str:
    """Content-Security-Policy of a page in which exactly these texts may run: no host, no frame, no form, no base."""
    rules = [
        "default-src 'none'",
        "script-src " + " ".join(source_hash(text) for text in scripts),
        f"style-src {source_hash(style)}",
        "worker-src blob:",
        "img-src data: blob:",
        "base-uri 'none'",
        "form-action 'none'",
    ]
    return "; ".join(rules)


def source_hash(text: str) -> str:
    """A script's or style's text as a source of a policy (W3C, Content Security Policy Level 3, 2.3.1)."""
    return f"'sha256-{_base64(hashlib.sha256(text.encode('utf-8')).digest())}'"


def data_json(value: Any) -> str:
    """JSON that is safe inside of a script element: no character that HTML or JavaScript treats as markup."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def how_to_open(path: Path) -> str:
    """What to tell a person about a page that was just written."""
    size = Path(path).stat().st_size / 1e6
    return (
        f"{path} ({size:.1f} MB) needs no network. Computer: double click it. Android: open it with Chrome. "
        "iPhone and iPad: put it on any https address and open that; their file preview runs no scripts."
    )


def player_folder() -> Path:
    """Where the built player lies: in the installed package, or in the source tree."""
    package = Path(__file__).parents[2]
    inside = package / "viewer" / "player" / "dist"
    return inside if inside.is_dir() else package.parent / "viewer" / "player" / "dist"


def _player_file(name: str) -> str:
    path = player_folder() / name
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise BackendError(
            f"HTML pages need the player, and {path.name} of it cannot be read ({error.strerror}): install sparse3d "
            "again, or build it with `python scripts/do player`"
        ) from None


def _scene_blocks(spz: bytes) -> str:
    text = _base64(spz)
    return "\n".join(f"{_BLOCK_TAG}{text[at : at + _BLOCK]}</script>" for at in range(0, len(text), _BLOCK))


def scene_pattern() -> re.Pattern[bytes]:
    """Finds the base64 of one data block."""
    return re.compile(re.escape(_BLOCK_TAG.encode()) + rb"([A-Za-z0-9+/]*={0,2})</script>")


def _poster_tag(poster: bytes | None) -> str:
    if poster is None:
        return ""
    # Drawn anew at a modest size: what a photo says about its place and time does not come along.
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = ImageOps.exif_transpose(Image.open(io.BytesIO(poster))).convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UsageError(f"the poster ({len(poster)} bytes) is not a picture that can be read: {error}") from None
    image.thumbnail((_POSTER_SIDE, _POSTER_SIDE))
    clean = Image.new("RGB", image.size)
    clean.paste(image)
    out = io.BytesIO()
    clean.save(out, "WEBP", quality=75, method=4)
    return f'<img id="poster" alt="" src="data:image/webp;base64,{_base64(out.getvalue())}">'


def _camera(camera: StartCamera) -> dict[str, Any]:
    """In the frame of SPZ, which turns our y and z round."""

    def turned(v: Vector) -> list[float]:
        return [v[0], -v[1], -v[2]]

    vectors = {"position": turned(camera.position), "target": turned(camera.target), "up": turned(camera.up)}
    return {**vectors, "fov": camera.fov}


def _reach(reach: Reach | None) -> dict[str, Any] | None:
    """Angles in radians. Turning y and z round leaves them as they are."""
    if reach is None:
        return None
    yaw, pitch = (bounds and [math.radians(angle) for angle in bounds] for bounds in (reach.yaw, reach.pitch))
    return {"yaw": yaw, "pitch": pitch, "distance": list(reach.distance), "shift": reach.shift}


def _metre(camera: StartCamera) -> float:
    return math.dist(camera.position, camera.target) / _PIVOT_METRES


def _unit(camera: StartCamera) -> float:
    """What one unit of an ordinary scene is: 1, or for tiny and huge scenes the power of two next to the way from the
    first view to what it turns about."""
    way = math.dist(camera.position, camera.target)
    return 1.0 if _ORDINARY[0] <= way <= _ORDINARY[1] or not way > 0.0 else 2.0 ** math.floor(math.log2(way))


def _one_line(title: str) -> str:
    """Without control characters, which HTML has no way to write. Lone surrogates cannot be stored as UTF-8."""
    printable = "".join(c if c.isprintable() else " " for c in title)
    return " ".join(printable.split())[:200] or "Splat scene"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
