# SPDX-License-Identifier: Apache-2.0
"""Binary glTF with KHR_gaussian_splatting_compression_spz_2 (a draft): the payload is an SPZ of version 2.

Experimental: hardly any program but Cesium reads it, and the draft may change. The payload has SPZ's own axes
(right-up-back), which readers turn into glTF's; the attributes are named by accessors without data, as the draft asks.
"""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sparse3d.formats.axes import RIGHT_UP_BACK, quat_signs
from sparse3d.formats.checks import unit_quats
from sparse3d.formats.format import Knob, Limits, WriteOptions, degree_note, kept_degree, register
from sparse3d.formats.glb.attributes import AXES, SPZ_EXTENSION, harmonic_name, scene_json
from sparse3d.formats.glb.container import make_glb
from sparse3d.formats.glb.glb import Glb
from sparse3d.formats.glb.nodes import EXTENSION
from sparse3d.formats.spz import bits as spz_bits
from sparse3d.formats.spz.container import read_container, write_container
from sparse3d.formats.spz.spz import Spz
from sparse3d.splats import Splats


@register
class GlbSpz:
    """SPZ inside a .glb; reading is `Glb`'s, which knows both."""

    name = "glb-spz"
    suffixes: tuple[str, ...] = (".spz.glb",)
    limits = Limits(
        lossy=True, max_sh_degree=3, frame="right-up-back", activated=("logit_opacities",), experimental=True,
        keeps_origin=True, rounds_means=True,
    )  # fmt: skip
    knobs: tuple[Knob, ...] = Spz.knobs
    losses = Spz.losses
    versions: tuple[int, ...] = ()

    def sniff(self, head: bytes) -> bool:
        # `Glb` stands before this format in the table and knows by the JSON which of the two a file is.
        return Glb().sniff(head)

    def read(self, file: BinaryIO) -> Splats:
        return Glb().read(file)

    def write(self, file: BinaryIO, splats: Splats, opts: WriteOptions) -> tuple[str, ...]:
        data, notes = self._glb(splats, opts)
        file.write(data)
        return (*degree_note(self, splats, opts), *notes)

    def quantised(self, splats: Splats, opts: WriteOptions) -> Splats:
        return self.read(io.BytesIO(self._glb(splats, opts)[0]))

    def file_order(self, splats: Splats) -> Tensor:
        return Spz().file_order(splats)

    def _glb(self, splats: Splats, opts: WriteOptions) -> tuple[bytes, tuple[str, ...]]:
        degree = kept_degree(self, splats, opts)
        cut = replace(splats, shN=splats.shN[:, : (degree + 1) ** 2 - 1].contiguous())
        plain = io.BytesIO()
        notes = Spz().write(plain, cut, replace(opts, version=3, sh_degree=None))
        packed = read_container(plain.getvalue())
        kept = spz_bits.unpack(packed)
        rotations = _three_bytes(kept.quats_wxyz.numpy())
        payload = write_container(replace(packed, version=2, rotations=rotations))
        means = kept.means.numpy() * np.array(AXES, np.float32)
        accessors = list(_placeholders(means, degree).items())
        primitive = {"attributes": {name: i for i, (name, _) in enumerate(accessors)}, "mode": 0}
        root = scene_json(primitive, {SPZ_EXTENSION: {"bufferView": 0}}, splats.antialias, splats.origin) | {
            "accessors": [accessor for _, accessor in accessors],
            "bufferViews": [{"buffer": 0, "byteOffset": 0, "byteLength": len(payload)}],
            "buffers": [{"byteLength": len(payload)}],
        }
        return make_glb(root, payload), notes


def _three_bytes(quats_wxyz: NDArray[np.float32]) -> NDArray[np.uint8]:
    """SPZ version 2: x, y and z of a unit quaternion with w >= 0, as bytes of 127.5 q + 127.5."""
    quats = unit_quats(quats_wxyz) * quat_signs(RIGHT_UP_BACK)
    quats *= np.where(quats[:, :1] < 0, np.float32(-1), np.float32(1))
    return np.rint(quats[:, 1:] * 127.5 + 127.5).clip(0, 255).astype(np.uint8)


def _placeholders(means: NDArray[np.float32], degree: int) -> dict[str, dict[str, Any]]:
    """Accessors without data: what each attribute would be."""

    def floats(kind: str) -> dict[str, Any]:
        return {"componentType": 5126, "count": len(means), "type": kind}

    ends = {"min": [float(v) for v in means.min(axis=0)], "max": [float(v) for v in means.max(axis=0)]}
    out = {"POSITION": floats("VEC3") | ends}
    out["COLOR_0"] = {"componentType": 5121, "normalized": True, "count": len(means), "type": "VEC4"}
    for name, kind in (("ROTATION", "VEC4"), ("SCALE", "VEC3"), ("OPACITY", "SCALAR")):
        out[f"{EXTENSION}:{name}"] = floats(kind)
    for band in range(degree + 1):
        out |= {harmonic_name(band, n): floats("VEC3") for n in range(2 * band + 1)}
    return out
