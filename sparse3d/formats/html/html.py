# SPDX-License-Identifier: Apache-2.0
"""One HTML page that plays its scene offline: an SPZ file of version 3 inside, as base64, and our own player.

What the page draws is what the SPZ file holds. Read back, a page of ours gives that file's splats. Obeys sh_degree,
effort, SPZ's knobs and `page` of the options.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import io
import json
import re
from typing import BinaryIO

import numpy as np
from torch import Tensor

from sparse3d.errors import DataError
from sparse3d.formats.checks import damaged
from sparse3d.formats.format import FORMATS, Knob, Limits, WriteOptions, kept_degree, register
from sparse3d.formats.html.options import PageOptions, start_of_splats
from sparse3d.formats.html.page import DOCTYPE, GENERATOR, make_page, scene_pattern
from sparse3d.formats.spz.spz import Spz
from sparse3d.geometry.places import Origin, as_origin
from sparse3d.splats import Splats

_END = b"</body>\n</html>\n"
_META = re.compile(rb'<script type="application/json" id="meta">([^<]*)</script>')


@register
class Html:
    """A page with a player."""

    name = "html"
    suffixes: tuple[str, ...] = (".html",)
    limits = Limits(
        lossy=True, max_sh_degree=3, frame="right-up-back", activated=("logit_opacities",), keeps_origin=True,
        rounds_means=True,
    )  # fmt: skip
    knobs: tuple[Knob, ...] = Spz.knobs
    losses = Spz.losses
    versions: tuple[int, ...] = ()

    def sniff(self, head: bytes) -> bool:
        return head.startswith(DOCTYPE) and GENERATOR in head

    def read(self, file: BinaryIO) -> Splats:
        page = file.read()
        return dataclasses.replace(FORMATS["spz"].read(io.BytesIO(scene_bytes(page))), origin=_origin(page))

    def write(self, file: BinaryIO, splats: Splats, opts: WriteOptions) -> tuple[str, ...]:
        scene = io.BytesIO()
        notes = self.write_scene(scene, splats, opts)
        page = opts.page or PageOptions()
        file.write(make_page(scene.getvalue(), page, page.camera or start_of_splats(splats), splats.origin))
        return notes

    def write_scene(self, file: BinaryIO, splats: Splats, opts: WriteOptions) -> tuple[str, ...]:
        """The SPZ file that a page holds, without the page."""
        return FORMATS["spz"].write(file, splats, self._scene_options(splats, opts))

    def scene_bytes(self, page: bytes) -> bytes:
        """The SPZ file of a page. Raises DataError as `scene_bytes`."""
        return scene_bytes(page)

    def quantised(self, splats: Splats, opts: WriteOptions) -> Splats:
        return FORMATS["spz"].quantised(splats, self._scene_options(splats, opts))

    def file_order(self, splats: Splats) -> Tensor:
        return FORMATS["spz"].file_order(splats)

    def _scene_options(self, splats: Splats, opts: WriteOptions) -> WriteOptions:
        return dataclasses.replace(opts, version=3, page=None, sh_degree=kept_degree(self, splats, opts))


def _origin(page: bytes) -> Origin:
    """What the page's positions are counted from. Raises DataError where that was changed."""
    meta = _META.search(page)
    value = json.loads(meta[1]).get("origin", [0, 0, 0]) if meta else [0, 0, 0]
    good = isinstance(value, list) and len(value) == 3 and all(type(v) in (int, float) for v in value)
    if not good or not np.isfinite(value).all():
        raise DataError("HTML: the page's own note of its origin is not three numbers; export the page again")
    return as_origin(np.array(value, np.float64))


def scene_bytes(page: bytes) -> bytes:
    """The SPZ file inside of a page of ours. Raises DataError where the page is cut off, changed or not ours."""
    if not page.startswith(DOCTYPE) or GENERATOR not in page[:16384]:
        raise DataError(
            "HTML: this is not a page that sparse3d made, so it holds no splats that can be read; give the scene's "
            "own file (PLY, SPZ, SOG)"
        )
    if not page.endswith(_END):
        raise DataError(f"HTML: the page is cut off or was changed: its {len(page)} bytes do not end with </html>")
    meta = _META.search(page)
    try:
        expected = json.loads(meta[1])["bytes"] if meta else None
    except (ValueError, KeyError, TypeError):
        expected = None
    if not isinstance(expected, int):
        raise damaged("HTML: the page's own data block with the size of the scene is missing or damaged")
    text = b"".join(scene_pattern().findall(page))
    try:
        scene = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise damaged(f"HTML: the scene in the page is not base64: {error}") from None
    if len(scene) != expected:
        raise damaged(f"HTML: the scene in the page has {len(scene)} bytes, and the page says {expected}")
    return scene
