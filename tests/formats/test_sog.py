# SPDX-License-Identifier: Apache-2.0
"""SOG there and back: as a bundle, as a folder, as other programs write it, and version 1 by hand."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sparse3d import formats
from sparse3d.compress.order import morton_order
from sparse3d.errors import DataError, UsageError
from sparse3d.formats import FORMATS, WriteOptions
from sparse3d.formats.sog.data import permuted, splats_from_sog
from sparse3d.formats.sog.files import files_from_sog, splats_from_files
from sparse3d.formats.sog.quantise import fitted_palette, sog_from_splats
from sparse3d.formats.sog.sog import Sog
from sparse3d.splats import Splats
from tests.conftest import REPO, require_shared_scene
from tests.formats.makers import differences, make_splats

GOLDEN = REPO / "tests" / "golden" / "formats"
SOG = Sog()
# Half a step of 16 bits over the box; 8 bits of a smallest component; half of 1/255. The codebooks of 120 values are
# exact to their six digits.
EXACT = {"means": 2e-4, "rotations": 0.012, "log_scales": 1e-4, "opacities": 0.002, "sh0": 1e-5}


def too_far(found: Splats, source: Splats, limits: dict[str, float]) -> dict[str, float]:
    return {name: d for name, d in differences(found, source).items() if d > limits.get(name, 0.0)}


@pytest.mark.parametrize("degree", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("antialias", [False, True])
def test_quantised_is_what_is_read_back(tmp_path: Path, degree: int, antialias: bool) -> None:
    splats = make_splats(40, degree, antialias=antialias)
    notes = formats.write(tmp_path / "a.sog", splats)
    again, expected = formats.read(tmp_path / "a.sog"), FORMATS["sog"].quantised(splats, WriteOptions())
    assert again.antialias is antialias
    assert again.sh_degree == min(degree, 3)
    for (name, a), (_, b) in zip(again.named(), expected.named()):
        assert torch.equal(a, b), name
    dropped = "spherical harmonics above degree 3 were dropped (the splats have degree 4)"
    assert notes == ((dropped,) if degree == 4 else ())
    assert too_far(again, splats, {**EXACT, "sh1": 0.004, "sh_rest": 0.004}) == {}


def test_the_same_splats_give_the_same_bytes_for_any_number_of_threads() -> None:
    splats, opts = make_splats(3000, 1), WriteOptions(knobs={"palette": 200})
    threads = torch.get_num_threads()
    try:
        made = []
        for count in (1, 2):
            torch.set_num_threads(count)
            made.append(SOG.parts(splats, opts))
    finally:
        torch.set_num_threads(threads)
    assert made[0] == made[1]


def test_another_order_is_the_same_splats() -> None:
    splats = make_splats(300, 2)
    data = sog_from_splats(splats, SOG.settings(splats, WriteOptions(knobs={"palette": 40})))
    order = torch.randperm(300, generator=torch.Generator().manual_seed(3))
    moved = permuted(data, order.numpy())
    for (name, a), (_, b) in zip(splats_from_sog(moved).named(), splats_from_sog(data).select(order).named()):
        assert torch.equal(a, b), name
    assert moved.palette is not None
    # New labels rise by one wherever an entry is used for the first time.
    tops = np.maximum.accumulate(moved.palette.labels)
    assert tops[0] == 0
    assert set(np.diff(tops)) == {0, 1}
    assert len(moved.palette.centroids) == tops[-1] + 1


def test_the_order_with_the_fewest_bytes_is_kept() -> None:
    """A curve through space with a colour that follows it: as it comes, it is far smaller than shuffled."""
    t = torch.linspace(0, 6, 2000)
    splats = replace(
        make_splats(2000, 0),
        means=torch.stack([t.sin(), t.cos(), t / 3], 1),
        sh0=t.sin()[:, None, None].repeat(1, 1, 3),
    )
    high = WriteOptions(effort="high")
    kept = size(SOG.parts(splats, high))
    for order in (torch.arange(2000), morton_order(splats.means)):
        data = permuted(sog_from_splats(splats, SOG.settings(splats, WriteOptions())), order.numpy())
        assert kept <= size(files_from_sog(data))
    shuffled = splats.select(torch.randperm(2000, generator=torch.Generator().manual_seed(1)))
    data = sog_from_splats(shuffled, SOG.settings(shuffled, WriteOptions()))
    assert size(SOG.parts(shuffled, WriteOptions())) < 0.9 * size(files_from_sog(data))
    files = SOG.parts(shuffled, high)
    again = splats_from_files(lambda name, _: files[name], size(files))
    for (name, a), (_, b) in zip(again.named(), SOG.quantised(shuffled, high).named()):
        assert torch.equal(a, b), name


def size(files: dict[str, bytes]) -> int:
    return sum(map(len, files.values()))


def test_the_palette_grows_with_the_splats() -> None:
    counts = [1, 40, 1024, 1025, 20_000, 65_535, 65_536, 1_000_000]
    assert [fitted_palette(n) for n in counts] == [1, 40, 1024, 1024, 16_384, 32_768, 65_536, 65_536]


def test_a_folder_holds_the_files_of_the_bundle(tmp_path: Path) -> None:
    splats = make_splats(50, 2)
    formats.write(tmp_path / "Ordner mit Lücke" / "meta.json", splats)
    formats.write(tmp_path / "a.sog", splats)
    folder = tmp_path / "Ordner mit Lücke"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == SOG.parts(splats, WriteOptions())
    bundle = formats.read(tmp_path / "a.sog")
    for path in (folder, folder / "meta.json"):
        for (name, a), (_, b) in zip(formats.read(path).named(), bundle.named()):
            assert torch.equal(a, b), name


def test_colour_under_opacity_zero_survives(tmp_path: Path) -> None:
    splats = make_splats(64, 0)
    splats = Splats(
        splats.means, splats.quats_wxyz, splats.log_scales, torch.full((64,), -20.0), splats.sh0, splats.shN
    )
    formats.write(tmp_path / "a.sog", splats)
    assert too_far(formats.read(tmp_path / "a.sog"), splats, EXACT) == {}


def test_infinite_scales_and_opacities_become_finite(tmp_path: Path) -> None:
    splats = make_splats(8, 0)
    splats.log_scales[0, 2], splats.logit_opacities[1], splats.logit_opacities[2] = -math.inf, math.inf, -math.inf
    formats.write(tmp_path / "a.sog", splats)
    again = formats.read(tmp_path / "a.sog")
    assert all(bool(torch.isfinite(tensor).all()) for _, tensor in again.named())
    assert too_far(again, splats, {**EXACT, "log_scales": math.inf}) == {}


@pytest.mark.parametrize("name", ["means", "sh0", "logit_opacities"])
def test_nan_is_not_written(tmp_path: Path, name: str) -> None:
    splats = make_splats(8, 0)
    getattr(splats, name)[5] = math.nan
    with pytest.raises(DataError, match=f"{name} is NaN.* in 1 splats, the first is splat 5"):
        formats.write(tmp_path / "a.sog", splats)
    assert list(tmp_path.iterdir()) == []


def test_knobs_trade_bytes_for_fidelity() -> None:
    splats = make_splats(600, 2)
    whole = {name: len(data) for name, data in SOG.parts(splats, WriteOptions()).items()}
    for knob, value, parts in [
        ("palette", 100, ["shN_centroids.webp"]),
        ("position_bits", 11, ["means_l.webp"]),
        ("quat_bits", 5, ["quats.webp"]),
        ("scale_entries", 16, ["scales.webp"]),
        ("colour_entries", 16, ["sh0.webp"]),
    ]:
        fewer = {name: len(data) for name, data in SOG.parts(splats, WriteOptions(knobs={knob: value})).items()}
        changed = {name for name in whole if fewer[name] < 0.95 * whole[name]}
        assert changed >= set(parts), knob
    with pytest.raises(UsageError, match="sog has no knob 'pallette' \\(known: palette, "):
        formats.check_options(FORMATS["sog"], WriteOptions(knobs={"pallette": 1}))


def test_position_bits_bound_the_error(tmp_path: Path) -> None:
    splats = make_splats(40, 0)
    for bits in (16, 12, 9):
        again = SOG.quantised(splats, WriteOptions(knobs={"position_bits": bits}))
        # The box is at most 4 units wide: half a step, and the stretch of the logarithm (1 + |x| up to 3.7).
        assert differences(again, splats)["means"] < 3.7 * 2.5 / 2**bits


@pytest.mark.parametrize(
    ("name", "limits"),
    [
        ("sog_gaussforge.sog", {"sh1": 0.004, "sh_rest": 0.004, "log_scales": 0.01, "sh0": 0.01}),
        # Its palette has 32 entries for these 40 splats.
        ("sog_splat_transform.sog", {"sh1": 0.9, "sh_rest": 0.9, "log_scales": 0.01, "sh0": 0.01, "opacities": 0.004,
                                     "rotations": 0.02}),
    ],
)  # fmt: skip
def test_files_of_other_programs(name: str, limits: dict[str, float]) -> None:
    found = formats.read(GOLDEN / name)
    assert found.sh_degree == 3
    assert too_far(found, formats.read(GOLDEN / "source.ply"), EXACT | limits) == {}


def test_harmonics_of_another_program_that_share_no_entry() -> None:
    """splat-transform has 32 entries for 40 splats: one that has its own has its harmonics, to a codebook's step."""
    found, source = formats.read(GOLDEN / "sog_splat_transform.sog"), formats.read(GOLDEN / "source.ply")
    near = source.select(torch.cdist(found.means, source.means).argmin(dim=1))
    alone = torch.tensor([int((found.shN == own).all(dim=2).all(dim=1).sum()) == 1 for own in found.shN])
    assert int(alone.sum()) >= 20
    assert float((found.shN - near.shN)[alone].abs().max()) < 0.02


def webp(pixels: list[list[int]], width: int) -> bytes:
    out = io.BytesIO()
    array = np.array(pixels, dtype=np.uint8).reshape(-1, width, 4)
    Image.fromarray(array).save(out, "WEBP", lossless=True, exact=True)
    return out.getvalue()


def test_version_1_by_hand(tmp_path: Path) -> None:
    meta = {
        "means": {"shape": [2, 3], "mins": [-1, 0, 0], "maxs": [1, 2, 0], "files": ["l.webp", "u.webp"]},
        "scales": {"mins": [-5, -5, -4], "maxs": [0, 5, -4], "files": ["s.webp"]},
        "quats": {"files": ["q.webp"]},
        "sh0": {"mins": [-1, 0, 0, -4], "maxs": [1, 1, 2, 4], "files": ["c.webp"]},
        "shN": {"mins": -2, "maxs": 2, "quantization": 8, "files": ["p.webp", "n.webp"]},
    }
    (tmp_path / "meta.json").write_text(json.dumps(meta))
    (tmp_path / "l.webp").write_bytes(webp([[255, 0, 7, 255], [0, 255, 0, 255]], 2))
    (tmp_path / "u.webp").write_bytes(webp([[255, 0, 9, 255], [0, 255, 0, 255]], 2))
    (tmp_path / "s.webp").write_bytes(webp([[255, 0, 0, 255], [0, 255, 9, 255]], 2))
    (tmp_path / "q.webp").write_bytes(webp([[255, 0, 0, 253], [0, 0, 0, 0]], 2))
    (tmp_path / "c.webp").write_bytes(webp([[255, 0, 255, 0], [0, 255, 0, 255]], 2))
    palette = [[0, 255, 0, 255]] * 192
    palette[5 * 3 + 1] = [255, 0, 255, 255]
    (tmp_path / "p.webp").write_bytes(webp(palette, 192))
    (tmp_path / "n.webp").write_bytes(webp([[5, 0, 0, 255], [0, 0, 0, 255]], 2))
    splats = formats.read(tmp_path)
    third = math.e - 1
    assert torch.allclose(splats.means, torch.tensor([[third, 0.0, 0.0], [-third, math.exp(2) - 1, 0.0]]))
    assert torch.allclose(splats.log_scales, torch.tensor([[0.0, -5, -4], [-5, 5, -4]]))
    # Tag 253: x is the largest; the others are w, y, z, here +-1/sqrt(2), so x is what is left of length 1, nothing.
    half = math.sqrt(0.5)
    assert torch.allclose(splats.quats_wxyz, torch.tensor([[half, 0, -half, -half], [1.0, 0, 0, 0]]))
    assert torch.allclose(splats.logit_opacities, torch.tensor([-4.0, 4.0]))
    assert torch.allclose(splats.sh0[:, 0], torch.tensor([[1.0, 0, 2], [-1, 1, 0]]))
    plain, other = [-2.0, 2.0, -2.0], [2.0, -2.0, 2.0]
    assert torch.allclose(splats.shN, torch.tensor([[plain, other, plain], [plain, plain, plain]]))


@pytest.mark.parametrize(
    ("name", "count", "degree"),
    [("playbot/4_0", 8406, 2), ("playbot/5_0", 3000, 2), ("playbot/6_0", 1873, 2), ("playcanvas-logo", 307128, 0)],
)
def test_shared_scenes(name: str, count: int, degree: int) -> None:
    splats = formats.read(require_shared_scene("splats_playcanvas") / name)
    assert (splats.num_splats, splats.sh_degree) == (count, degree)
    meta = json.loads((require_shared_scene("splats_playcanvas") / name / "meta.json").read_text())
    logs = torch.tensor([meta["means"]["mins"], meta["means"]["maxs"]], dtype=torch.float64)
    low, high = torch.sign(logs) * torch.expm1(logs.abs())
    assert bool((splats.means >= low - 1e-5).all())
    assert bool((splats.means <= high + 1e-5).all())
    # Not all writers take the tightest box.
    assert bool((splats.means.amax(dim=0) - splats.means.amin(dim=0) > 0.5 * (high - low)).all())
    # A scene is mostly opaque and small-grained: swapped images or a wrong codebook are not.
    assert float(splats.opacities.median()) > 0.2
    assert float(splats.scales.median()) < 0.05
