# SPDX-License-Identifier: Apache-2.0
"""Files that other programs wrote from our seeded splats: each number within half of the format's step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sparse3d import formats
from sparse3d.formats.axes import RIGHT_UP_BACK, quat_signs, sh_signs
from sparse3d.splats import Splats
from tests.conftest import REPO, require_shared_scene
from tests.formats.makers import differences

GOLDEN = REPO / "tests" / "golden" / "formats"
# Half of a step of 1/4096, 1/16, 1/255 and 0.15/255; rotations by 9 bits of a smallest component.
SPZ = {"means": 1.3e-4, "rotations": 0.004, "log_scales": 0.0313, "opacities": 0.002, "sh0": 0.0131}
EIGHT_BITS = {"sh1": 0.004, "sh_rest": 0.004}
# 5 and 4 bits: steps of 8 and 16 of 128; the programs round twice, which adds half a step of 1/128.
FEW_BITS = {"sh1": 0.0352, "sh_rest": 0.0665}
# Steps of 1/1023 of a chunk that is 4 long, of scales 2 apart; harmonics in steps of 8/256.
CHUNKED = {"means": 0.002, "rotations": 0.003, "log_scales": 0.001, "opacities": 0.002, "sh0": 0.005, "sh1": 0.0157,
           "sh_rest": 0.0157}  # fmt: skip
# Colours cut to whole bytes, not rounded.
BYTES = {"means": 1e-6, "rotations": 0.02, "log_scales": 1e-5, "opacities": 0.004, "sh0": 0.0139}
HALVES = {"means": 1e-4, "rotations": 0.001, "log_scales": 0.001, "opacities": 0.004, "sh0": 0.0139}

CASES: dict[str, tuple[int, bool, dict[str, float]]] = {
    # 8 bits of x, y, z leave w to be derived: coarse where it is small.
    "adobe_v2.spz": (3, True, {**SPZ, **EIGHT_BITS, "rotations": 0.12}),
    "adobe_v3.spz": (3, True, SPZ | EIGHT_BITS),
    "adobe_v4.spz": (3, True, SPZ | EIGHT_BITS),
    "splat_transform.compressed.ply": (3, False, CHUNKED),
    "gsply.compressed.ply": (3, False, CHUNKED),
    "gaussforge.splat": (0, False, BYTES),
    "mkkellogg_level0.ksplat": (2, False, {**BYTES, "rotations": 1e-6, "sh1": 1e-6, "sh_rest": 1e-6}),
    "mkkellogg_level1.ksplat": (2, False, {**HALVES, "sh1": 3e-4, "sh_rest": 3e-4}),
    "mkkellogg_level2.ksplat": (2, False, {**HALVES, "sh1": 0.0059, "sh_rest": 0.0059}),
}
UNTURNED = {
    "splat_transform_v3.spz": SPZ | FEW_BITS,
    "splat_transform_v4.spz": SPZ | FEW_BITS,
    "gaussforge.spz": SPZ | FEW_BITS,
    "gsply.spz": SPZ | EIGHT_BITS,
}


@pytest.fixture(scope="module")
def source() -> Splats:
    return formats.read(GOLDEN / "source.ply")


def too_far(found: Splats, source: Splats, limits: dict[str, float]) -> dict[str, float]:
    return {name: d for name, d in differences(found, source).items() if d > limits.get(name, 0.0)}


def turned(splats: Splats, signs: tuple[int, int, int]) -> Splats:
    """The same splats in axes of other signs."""
    return Splats(
        splats.means * torch.tensor(signs, dtype=torch.float32),
        splats.quats_wxyz * torch.from_numpy(quat_signs(signs)),
        splats.log_scales, splats.logit_opacities, splats.sh0,
        splats.shN * torch.from_numpy(sh_signs(signs, splats.sh_degree))[:, None], splats.antialias,
    )  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_what_other_programs_wrote(source: Splats, name: str) -> None:
    degree, antialias, limits = CASES[name]
    found = formats.read(GOLDEN / name)
    assert (found.num_splats, found.sh_degree, found.antialias) == (source.num_splats, degree, antialias)
    assert too_far(found, source, limits) == {}


@pytest.mark.parametrize("name", UNTURNED)
def test_spz_that_was_written_without_turning_is_read_as_it_says(source: Splats, name: str) -> None:
    found = formats.read(GOLDEN / name)
    assert too_far(turned(found, RIGHT_UP_BACK), source, UNTURNED[name]) == {}


def test_a_wrong_sign_would_be_seen(source: Splats) -> None:
    """The limits above are narrow enough: one flipped coefficient or a mirrored axis is far outside of them."""
    limits = CASES["adobe_v3.spz"][2]
    for k in range(15):
        wrong = source.clone()
        wrong.shN[:, k] *= -1
        assert too_far(wrong, source, limits), f"coefficient {k}"
    for i in range(4):
        wrong = source.clone()
        wrong.quats_wxyz[:, i] *= -1
        assert "rotations" in too_far(wrong, source, limits), f"quaternion component {i}"


def test_signs_of_harmonics_by_their_polynomials() -> None:
    """Signs against the basis itself, evaluated at mirrored directions (the kernels' reference, degree 4)."""
    from sparse3d.formulas.harmonics import sh_basis

    g = torch.Generator().manual_seed(2)
    direction = torch.nn.functional.normalize(torch.randn(50, 3, generator=g, dtype=torch.float64), dim=1)
    for signs in [(1, -1, -1), (-1, 1, 1), (1, -1, 1), (-1, -1, -1)]:
        mirrored = direction * torch.tensor(signs, dtype=torch.float64)
        expected = sh_basis(mirrored, 4)[:, 1:] / sh_basis(direction, 4)[:, 1:]
        assert np.allclose(expected.numpy(), sh_signs(signs, 4)[None], atol=1e-9), signs


SHARED = {
    "splats_playcanvas/biker.compressed.ply": (152746, 0),
    "splats_playcanvas/biker.spz": (152746, 0),
    "splats_playcanvas/guitar.compressed.ply": (90854, 0),
    "splats_splatset/academic_tarot_cards/academic_tarot_cards.splat": (114865, 0),
    "splats_splatset/armadillo/armadillo_10k.splat": (10000, 0),
    "splats_splatset/house/house_10k.splat": (10000, 0),
    "splats_splatset/lucy/lucy_10k.splat": (10000, 0),
    "splats_splatset/pizza/pizza_10k.splat": (10000, 0),
    "splats_splatset/plant/plant.splat": (113648, 0),
}


@pytest.mark.parametrize("name", SHARED)
def test_shared_files(name: str) -> None:
    folder, _, rest = name.partition("/")
    splats = formats.read(require_shared_scene(folder) / rest)
    assert (splats.num_splats, splats.sh_degree) == SHARED[name]
    for field, values in splats.named():
        assert torch.isfinite(values).all(), field


def test_one_shared_model_in_two_formats_is_the_same_scene() -> None:
    folder: Path = require_shared_scene("splats_playcanvas")
    spz, ply = formats.read(folder / "biker.spz"), formats.read(folder / "biker.compressed.ply")
    # Positions of the chunks are coarser than SPZ's; both files are in the same order.
    assert float((spz.means - ply.means).abs().max()) < 2e-3
    assert float((spz.log_scales - ply.log_scales).abs().mean()) < 0.03
    assert float((spz.sh0 - ply.sh0).abs().mean()) < 0.02
    dots = (torch.nn.functional.normalize(spz.quats_wxyz) * torch.nn.functional.normalize(ply.quats_wxyz)).sum(1).abs()
    assert float(dots.min()) > 0.99
