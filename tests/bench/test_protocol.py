# SPDX-License-Identifier: Apache-2.0
"""Whether a scene is the published one: decided by its files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sparse3d.bench.protocol import SceneFacts, adaptations, check_no_leak, default_options, examine, verdict
from sparse3d.errors import DataError, UsageError
from sparse3d.load.config import SceneConfig
from sparse3d.load.parsers import PARSERS
from sparse3d.records.points import Points
from tests.load import makers


def facts(name: str, count: int, size: tuple[int, int], **values: object) -> SceneFacts:
    base = SceneFacts(
        name=name, kind="llff", photos_in="images_8", names=tuple(f"{k:03d}.png" for k in range(count)),
        splits=(None,) * count, sizes=(size,), loaded=(size,), masks=0, posed=True,
    )  # fmt: skip
    return replace(base, **values)  # type: ignore[arg-type]


def said(scene: SceneFacts, protocol: str, views: int, cfg: SceneConfig | None = None) -> str:
    return verdict(adaptations(scene, protocol, views, cfg or SceneConfig()))


FERN = facts("nerf_llff-fern", 20, (504, 378))
SCAN = facts("scan63", 49, (400, 300), masks=49)
BLACK, WHITE = SceneConfig(background="black"), SceneConfig(background="white")
LEGO = facts("lego", 300, (800, 800), splits=("train",) * 100 + ("test",) * 200, loaded=((400, 400),))


@pytest.mark.parametrize(
    ("scene", "protocol", "views", "cfg", "expected"),
    [
        (FERN, "llff", 3, None, "exact"),
        (FERN, "llff", 4, None, "adapted: published with 2, 3, 6 and 9 views, not 4"),
        (replace(FERN, names=FERN.names[:18]), "llff", 3, None, "adapted: 18 of 20 photos"),
        (replace(FERN, name="fernsehturm"), "llff", 3, None, "adapted: fernsehturm is not one of the 8 LLFF scenes"),
        (
            facts("llff_flower", 25, (706, 529), loaded=((504, 378),)),
            "llff",
            3,
            None,
            "adapted: 25 of 34 photos; photos resized from 706x529",
        ),
        (replace(FERN, sizes=((4032, 3024),)), "llff", 3, None, "exact"),
        (
            replace(FERN, loaded=((252, 189),)),
            "llff",
            3,
            None,
            "adapted: photos of 252x189, published at 504x378",
        ),
        (
            replace(FERN, posed=False),
            "llff",
            3,
            None,
            "adapted: cameras from structure from motion of the training photos",
        ),
        (SCAN, "dtu", 3, BLACK, "exact"),
        (SCAN, "dtu", 3, WHITE, "adapted: background white, not black"),
        (replace(SCAN, name="dtu_scan24"), "dtu", 3, BLACK, "adapted: scan24 is not one of the 15 published scans"),
        (replace(SCAN, masks=0), "dtu", 3, BLACK, "adapted: masks for 0 of 49 photos, published with masks"),
        (LEGO, "blender", 8, WHITE, "exact"),
        (
            replace(LEGO, name="nerf_synthetic_lego", names=LEGO.names[:40], splits=("test",) * 15 + ("train",) * 25),
            "blender",
            8,
            WHITE,
            "adapted: 25 of 100 training photos, 15 of 200 test photos",
        ),
        (LEGO, "blender", 8, BLACK, "adapted: background black, not white"),
        (facts("garden", 185, (648, 420)), "every8", 12, None, "exact"),
        (
            facts("garden", 185, (648, 420), photos_in="images"),
            "every8",
            12,
            None,
            "adapted: photos from images, not images_8 or images_4",
        ),
        (
            facts("fox", 50, (1080, 1920), loaded=((270, 480),)),
            "every8",
            4,
            None,
            "adapted: fox is not one of the 7 Mip-NeRF 360 scenes; photos resized; published with 12 and 24 views, "
            "not 4",
        ),
        (FERN, "none", 3, None, "adapted: no published protocol"),
    ],
)
def test_exact_or_adapted(scene: SceneFacts, protocol: str, views: int, cfg: SceneConfig | None, expected: str) -> None:
    assert said(scene, protocol, views, cfg) == expected


def test_facts_of_a_folder(tmp_path: Path) -> None:
    makers.write_llff(tmp_path / "llff_fern", makers.cameras(5), factor=8)
    found = examine(tmp_path / "llff_fern", SceneConfig(max_side=32))
    assert (found.name, found.kind, found.photos_in, len(found.names)) == ("llff_fern", "llff", "images_8", 5)
    assert (found.sizes, found.loaded, found.masks, found.posed) == (((64, 48),), ((32, 24),), 0, True)
    makers.write_blender(tmp_path / "lego", makers.cameras(3, 48, 48), makers.cameras(2, 48, 48))
    own = examine(tmp_path / "lego", SceneConfig())
    assert sorted(map(str, own.splits)) == ["test", "test", "train", "train", "train"]


def test_options_that_a_protocol_brings() -> None:
    assert default_options("llff") == {"protocol": "llff", "max-side": "504"}
    assert default_options("dtu") == {"protocol": "dtu", "max-side": "400", "background": "black"}
    assert default_options("blender") == {"protocol": "blender", "max-side": "400", "background": "white"}
    assert default_options("every8") == {"protocol": "every8"}
    assert default_options("none") == {}


def test_a_start_that_saw_the_test_photos_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"--points a\.ply: nobody knows which photos given points come from"):
        check_no_leak(SceneConfig(points=Path("a.ply"), views="3"))
    with pytest.raises(UsageError, match="--views all: cameras that come from structure from motion would be found"):
        check_no_leak(SceneConfig())
    check_no_leak(SceneConfig(views="3"))
    # A kind of scene whose points do not say where they come from: none today, so one is made of another.
    makers.write_llff(tmp_path, makers.cameras(3))
    parser = PARSERS["llff"]
    cloud = Points(*(makers.POINTS.astype("float32"),) * 2)

    def parse(*words):
        return replace(parser.parse(*words), points=cloud)

    monkeypatch.setitem(PARSERS._things, "llff", replace(parser, parse=parse))
    with pytest.raises(DataError, match="brings points and does not say which photos they come from"):
        examine(tmp_path, SceneConfig())


@pytest.mark.parametrize(
    ("name", "protocol", "views", "cfg", "expected"),
    [
        ("llff_fern", "llff", 3, SceneConfig(max_side=504), "exact"),
        (
            "llff_flower",
            "llff",
            3,
            SceneConfig(max_side=504),
            "adapted: 25 of 34 photos; photos resized from 706x529",
        ),
        ("dtu_scan24", "dtu", 3, BLACK, "adapted: scan24 is not one of the 15 published scans"),
        (
            "nerf_synthetic_lego",
            "blender",
            8,
            SceneConfig(max_side=400),
            "adapted: 25 of 100 training photos, 15 of 200 test photos",
        ),
    ],
)
def test_the_real_scenes(
    shared_scene: Callable[[str], Path], name: str, protocol: str, views: int, cfg: SceneConfig, expected: str
) -> None:
    assert said(examine(shared_scene(name), cfg), protocol, views, cfg) == expected
