# SPDX-License-Identifier: Apache-2.0
"""The numbers in the player of HTML pages (viewer/player/src) are those of sparse3d/conventions.py."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest
import torch

from sparse3d import conventions
from sparse3d.formulas.harmonics import sh_basis
from sparse3d.kernels.reference import projection

NUMBER = r"([0-9.]+(?:e[-+]?[0-9]+)?)"
LOW_PASS = conventions.LOW_PASS_PX2


class Copy(NamedTuple):
    """Where a number stands: the pattern's groups, each time it is found (`times`), are these values."""

    file: str
    pattern: str
    values: tuple[float, ...]
    times: int = 1


COPIES = {
    "near": Copy("renderer.ts", rf"const NEAR = {NUMBER};", (conventions.NEAR_PLANE,)),
    "field of view": Copy("renderer.ts", rf"const FOV_CLAMP = {NUMBER};", (conventions.FOV_CLAMP,)),
    "low-pass": Copy("shaders.ts", rf"dot\((v[01]), \1\) \+ {NUMBER};", (LOW_PASS,), times=2),
    # The determinant from that of the sharp covariance s: det(s + L) = det(s) + L (a + c - 2 L) + L^2.
    "low-pass of the determinant": Copy(
        "shaders.ts", rf"sharp \+ {NUMBER} \* \(a \+ c - {NUMBER}\) \+ {NUMBER};", (LOW_PASS, 2 * LOW_PASS, LOW_PASS**2)
    ),
    "compensation's floor": Copy("shaders.ts", rf"max\(sharp / det, {NUMBER}\)", (projection.COMPENSATION_FLOOR,)),
    "least opacity": Copy("shaders.ts", rf"!\(opacity >= {NUMBER} / {NUMBER}\)", (1.0, 1.0 / conventions.ALPHA_MIN)),
    "least alpha": Copy("shaders.ts", rf"alpha < {NUMBER} / {NUMBER}\) discard", (1.0, 1.0 / conventions.ALPHA_MIN)),
    "extent": Copy("shaders.ts", rf"sqrt\(2\.0 \* log\({NUMBER} \* opacity\)\)", (1.0 / conventions.ALPHA_MIN,)),
    "largest alpha": Copy("shaders.ts", rf"alpha = min\(alpha, {NUMBER}\)", (conventions.ALPHA_MAX,)),
    "SH of degree 0": Copy("shaders.ts", rf"vec3 c = 0\.5 \+ {NUMBER} \*", (conventions.SH_C0,)),
}


@pytest.fixture(scope="module")
def sources(repo: Path) -> dict[str, str]:
    """The player's TypeScript without comments, by file name."""
    folder = repo / "viewer" / "player" / "src"
    comment = re.compile(r"/\*.*?\*/|//[^\n]*", re.S)
    return {path.name: comment.sub("", path.read_text(encoding="utf-8")) for path in folder.glob("*.ts")}


@pytest.mark.parametrize("name", COPIES)
def test_player_constant_equals_python(sources: dict[str, str], name: str) -> None:
    copy = COPIES[name]
    found = list(re.finditer(copy.pattern, sources[copy.file]))
    assert len(found) == copy.times, f"{name}: {copy.file} has {copy.pattern!r} {len(found)} times, not {copy.times}"
    for match in found:
        numbers = [float(text) for text in match.groups() if re.fullmatch(NUMBER, text)]
        assert numbers == pytest.approx(copy.values, rel=1e-12), f"{name}: {match[0]!r}"


def test_no_threshold_stands_anywhere_else(sources: dict[str, str]) -> None:
    """Another copy of a number that is only a threshold would be compared with nothing."""
    text = sources["shaders.ts"]
    for copy in COPIES.values():
        text = re.sub(copy.pattern, "", text)
    numbers = set(re.findall(rf"(?<![\w.]){NUMBER}(?![\w.])", text))
    assert "0.5" in numbers
    assert not numbers & {"0.3", "0.6", "0.09", "255.0", "0.99", "1e-12", str(conventions.SH_C0)}


def test_player_harmonics_equal_python(sources: dict[str, str]) -> None:
    """The shader's basis functions are plain arithmetic, which Python reads as it stands there."""
    listed = re.search(r"const BASIS = \[(.*?)\];", sources["shaders.ts"], re.S)
    assert listed
    terms = re.findall(r'"([^"]+)"', listed[1])
    assert len(terms) == 15
    assert all(re.fullmatch(r"[-+*() .0-9dsxyz]+", term) for term in terms)
    directions = torch.nn.functional.normalize(
        torch.randn(50, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3)), dim=1
    )
    x, y, z = directions.unbind(1)
    names = {"d": SimpleNamespace(x=x, y=y, z=z), "s": SimpleNamespace(x=x * x, y=y * y, z=z * z)}
    found = torch.stack([eval(term, {"__builtins__": {}}, names) for term in terms], dim=1)
    assert torch.allclose(found, sh_basis(directions, 3)[:, 1:], rtol=0, atol=1e-14)
