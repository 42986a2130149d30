# SPDX-License-Identifier: Apache-2.0
"""What became of a scene: bytes, splats and pictures before and after, as plain values."""

from __future__ import annotations

from typing import Any

from sparse3d.export.coder import Coder, Encoded
from sparse3d.export.fit import Fitted
from sparse3d.export.judge import Closeness, held_out, to_source
from sparse3d.export.recipes import used_degree
from sparse3d.export.source import Source
from sparse3d.splats import Splats, num_sh_rest

# Of INRIA's PLY: place, normal, base colour, opacity, scales and rotation; 3 a coefficient come to it.
_PLY_FLOATS = 17


def report(source: Source, coder: Coder, fitted: Fitted, made: Encoded, decoded: Splats) -> dict[str, Any]:
    """Values for JSON. `decoded`: what a reader gets of the file.

    bytes: of the source, of the scene in the file and of all that is written. bytes_unpadded: of the source as INRIA
    PLY of the SH degree that its coefficients use. held_out and to_source: PSNR in dB and SSIM, None where there are no
    such photos.
    """
    used = used_degree(source.splats)
    unpadded = 4 * (_PLY_FLOATS + 3 * num_sh_rest(used)) * source.splats.num_splats
    before, after = held_out(source, source.splats), held_out(source, decoded)
    return {
        "in": str(source.path),
        "out": str(coder.out),
        "format": coder.format.name,
        "splats": [source.splats.num_splats, decoded.num_splats],
        "sh_degree": [source.splats.sh_degree, used, decoded.sh_degree],
        "bytes": [source.bytes, made.size, made.total],
        "bytes_unpadded": unpadded,
        "bytes_per_splat": round(made.size / decoded.num_splats, 3),
        "times_smaller": round(source.bytes / made.size, 2),
        "times_smaller_unpadded": round(unpadded / made.size, 2),
        "recipe": fitted.recipe,
        "finest": fitted.whole,
        "refine_steps": fitted.refined,
        "judged_by": source.found,
        "held_out": None if before is None or after is None else _pair(source, before, after),
        "to_source": _values(to_source(source, decoded)),
        "notes": list(made.notes),
    }


def _pair(source: Source, before: Closeness, after: Closeness) -> dict[str, Any]:
    return {
        "photos": 0 if source.photos is None else len(source.photos.scene.test),
        "source": _values(before),
        "file": _values(after),
        "drop": round(before.psnr - after.psnr, 4),
    }


def _values(found: Closeness) -> dict[str, float]:
    return {"psnr": round(found.psnr, 4), "ssim": round(found.ssim, 5)}
