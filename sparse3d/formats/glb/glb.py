# SPDX-License-Identifier: Apache-2.0
"""Binary glTF with KHR_gaussian_splatting (ratified by Khronos in 2026): attributes of a POINTS primitive.

glTF's axes are x left, y up, z forward of the scene: ours turned by half a turn about z. The data are turned, exactly
(signs only), not the node: viewers then need neither a node's matrix nor turned harmonics. Scales are linear, opacities
after the sigmoid, quaternions xyzw of length 1. `glb_bits` 16 or 8 stores rotations and opacities as the normalised
integers that the extension allows; positions, scales and harmonics stay float32 (the extension has no other harmonics,
and linear integers would round small scales to nothing).
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from typing import BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sparse3d.errors import DataError
from sparse3d.formats.checks import remaining_bytes
from sparse3d.formats.cuts import size_notes
from sparse3d.formats.format import Knob, Limits, WriteOptions, degree_note, kept_degree, knob_value, register
from sparse3d.formats.glb.attributes import (
    AXES,
    LOG_SCALE_RANGE,
    glb_of_attributes,
    in_gltf_axes,
    read_primitive,
    stored_attributes,
)
from sparse3d.formats.glb.container import MAGIC, read_glb
from sparse3d.formats.glb.nodes import EXTENSION, has_triangles, moved, splat_primitives
from sparse3d.formats.losses import Losses
from sparse3d.geometry.places import as_origin, local_origin, spread
from sparse3d.splats import PARAMETER_NAMES, Splats


@register
class Glb:
    """KHR_gaussian_splatting in a .glb file."""

    name = "glb"
    suffixes: tuple[str, ...] = (".glb",)
    limits = Limits(
        lossy=True, max_sh_degree=3, frame="left-up-forward", activated=("log_scales", "logit_opacities"),
        keeps_origin=True,
    )  # fmt: skip
    knobs: tuple[Knob, ...] = (
        Knob("glb_bits", 8, 32, 32, "bits of rotations and opacities: 32 (float), 16 or 8 (normalised integers)"),
    )
    losses = Losses()
    versions: tuple[int, ...] = ()

    def sniff(self, head: bytes) -> bool:
        return head.startswith(MAGIC)

    def read(self, file: BinaryIO) -> Splats:
        root, binary = read_glb(file.read(remaining_bytes(file)))
        parts, origin = [], np.zeros(3)
        for primitive, matrix in splat_primitives(root):
            part = read_primitive(root, binary, primitive)
            if not parts:
                origin = _far(part, matrix)
            matrix[:3, 3] -= origin
            parts.append(moved(part, matrix))
        if not parts:
            used = root.get("extensionsUsed")
            names = ", ".join(map(str, used))[:200] if isinstance(used, list) and used else "none"
            if has_triangles(root) and EXTENSION not in names:
                raise DataError("binary glTF holds a mesh of triangles, no splats; give splats, or photos to train")
            raise DataError(
                f"binary glTF holds no primitive with {EXTENSION} in its scene (extensions in use: {names}); export "
                "the splats with that extension, or as PLY or SPZ"
            )
        # The bytes are no longer needed: only one more copy of the splats is in memory.
        del root, binary
        # The change of axes is its own inverse.
        return replace(in_gltf_axes(_joined(parts)), origin=as_origin(origin * AXES))

    def write(self, file: BinaryIO, splats: Splats, opts: WriteOptions) -> tuple[str, ...]:
        for piece in self._glb(splats, opts):
            file.write(piece)
        notes = degree_note(self, splats, opts)
        notes += size_notes(splats.log_scales.detach().cpu().numpy(), *LOG_SCALE_RANGE)
        if splats.antialias:
            notes += ("glTF has no field for antialiasing; it is noted in `extras`, which only sparse3d reads",)
        return notes

    def quantised(self, splats: Splats, opts: WriteOptions) -> Splats:
        return self.read(io.BytesIO(b"".join(self._glb(splats, opts))))

    def file_order(self, splats: Splats) -> Tensor:
        return torch.arange(splats.num_splats)

    def _glb(self, splats: Splats, opts: WriteOptions) -> Iterator[bytes]:
        bits = int(knob_value(self, opts, "glb_bits") or 32)
        stored = stored_attributes(splats, kept_degree(self, splats, opts), bits)
        return glb_of_attributes(stored, splats.antialias, splats.origin)


def _far(splats: Splats, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """[3] where the node stands, if that is so far from the origin that float32 would lose the splats' places; else
    0."""
    if not matrix[:3, 3].any():
        return np.zeros(3)
    _, size = spread(splats.means.double().numpy() @ matrix[:3, :3].T)
    return matrix[:3, 3].copy() if any(local_origin(matrix[:3, 3], size)) else np.zeros(3)


def _joined(parts: list[Splats]) -> Splats:
    """One record of all primitives; harmonics that one lacks are zero."""
    if len(parts) == 1:
        return parts[0]
    most = max(part.shN.shape[1] for part in parts)
    padded = [torch.nn.functional.pad(part.shN, (0, 0, 0, most - part.shN.shape[1])) for part in parts]
    columns = {name: torch.cat([getattr(part, name) for part in parts]) for name in PARAMETER_NAMES if name != "shN"}
    return replace(parts[0], **columns, shN=torch.cat(padded), antialias=all(part.antialias for part in parts))
