# SPDX-License-Identifier: Apache-2.0
"""The numbers of math/thresholds.h are those of sparse3d/conventions.py."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from sparse3d import conventions
from sparse3d.kernels.reference import projection

NAMES = {
    "kTilePx": conventions.TILE_PX,
    "kLowPassPx2": conventions.LOW_PASS_PX2,
    "kAlphaMin": conventions.ALPHA_MIN,
    "kAlphaMax": conventions.ALPHA_MAX,
    "kTransmittanceStop": conventions.TRANSMITTANCE_STOP,
    "kFovClamp": conventions.FOV_CLAMP,
    "kNearPlane": conventions.NEAR_PLANE,
    "kMaxShDegree": conventions.MAX_SH_DEGREE,
    "kShC0": conventions.SH_C0,
    "kLog2AlphaMin": math.log2(conventions.ALPHA_MIN),
    "kCompensationFloor": projection.COMPENSATION_FLOOR,
}


@pytest.fixture(scope="module")
def header(repo: Path) -> dict[str, float]:
    text = (repo / "math" / "thresholds.h").read_text(encoding="utf-8")
    found = re.findall(r"^inline constexpr (?:int|float|double) (k\w+) = ([-+0-9.e/ ]+);", text, flags=re.MULTILINE)
    values = {}
    for name, expression in found:
        parts = [float(part) for part in expression.split("/")]
        values[name] = parts[0] if len(parts) == 1 else parts[0] / parts[1]
    return values


@pytest.mark.parametrize("name", NAMES)
def test_native_constant_equals_python(header: dict[str, float], name: str) -> None:
    assert name in header, f"math/thresholds.h has no {name}; it has {sorted(header)}"
    assert header[name] == pytest.approx(NAMES[name], rel=1e-15)


def test_compensation_floor_changes_no_picture() -> None:
    """A splat whose ratio is at the floor is culled whatever its opacity is."""
    assert math.sqrt(projection.COMPENSATION_FLOOR) < conventions.ALPHA_MIN
