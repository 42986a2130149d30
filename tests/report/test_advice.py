# SPDX-License-Identifier: Apache-2.0
"""What the page says about the next photos, from where cameras stand and what no photo saw."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from sparse3d.camera import Camera
from sparse3d.render.camera_file import NamedCamera
from sparse3d.render.camera_path import look_at
from sparse3d.report.advice import advise
from sparse3d.report.plan import legend, plan
from sparse3d.report.ring import ring_of
from tests.formats.makers import make_splats

CLEAR: dict[str, Any] = {"cameras": "held_out", "views": 3, "unseen": 0.01, "one_view": 0.05, "two_or_more": 0.94}


def ring_camera(azimuth: float, distance: float = 3.0, *, outwards: bool = False) -> Camera:
    """`azimuth` degrees to the right of -z around the origin; y is down."""
    angle = math.radians(azimuth)
    eye = distance * np.array([math.sin(angle), 0.0, -math.cos(angle)])
    pose = look_at(eye, 2 * eye if outwards else np.zeros(3), np.array([0.0, -1.0, 0.0]))
    return Camera(320, 240, 300.0, 300.0, 160.0, 120.0, pose, name=f"<{azimuth:g}>.jpg")


def advice_for(*azimuths: float, coverage: dict[str, Any] | None = CLEAR) -> Any:
    cameras = [ring_camera(azimuth) for azimuth in azimuths]
    return advise(cameras, ring_of(cameras), coverage)


def test_the_widest_gaps_first_and_the_ends() -> None:
    advice = advice_for(-50, 0, 30, 40)
    assert advice.sentences == (
        "Take one between <-50>.jpg and <0>.jpg: they look from 50° apart, and about 15° is best.",
        "Take one between <0>.jpg and <30>.jpg: they look from 30° apart, and about 15° is best.",
        "The photos span 90° around what they look at. To show more of it, go on beyond <-50>.jpg and <40>.jpg, 15° "
        "from one photo to the next.",
    )
    # They count from where the mean photo stands; the point that the photos look at is only nearly the origin.
    assert np.diff(advice.angles) == pytest.approx(np.diff([-25.0, 15.0, -65.0, 55.0]), abs=0.5)


def test_a_photo_that_is_there_and_was_not_used() -> None:
    cameras = [ring_camera(azimuth) for azimuth in (-20, 20)]
    ring = ring_of(cameras)
    said = advise(cameras, ring, CLEAR, [ring_camera(-14), ring_camera(3)]).sentences[0]
    assert said.endswith("15° is best. <3>.jpg is there already and was not used.")
    assert advise(cameras, ring, CLEAR, [ring_camera(-14), ring_camera(170)]).sentences[0].endswith("15° is best.")


def test_a_closed_ring_has_no_ends() -> None:
    advice = advice_for(*range(0, 360, 20))
    assert advice.angles == ()
    assert advice.sentences == (
        "The photos stand close to each other and cover what they look at. Nearer ones would add detail.",
    )
    assert len(advice_for(*range(0, 360, 30)).sentences) == 2


def test_what_was_guessed_is_said() -> None:
    coverage = {**CLEAR, "unseen": 0.21, "one_view": 0.3, "two_or_more": 0.49}
    said = advice_for(*range(0, 360, 20), coverage=coverage).sentences
    assert said[0].startswith("21% of what the held-out photos show was guessed")
    assert said[1].startswith("30% rests on one photo alone")
    between = advice_for(*range(0, 360, 20), coverage={**coverage, "cameras": "between"}).sentences
    assert "views between the photos show" in between[0]
    assert len(advice_for(*range(0, 360, 20), coverage={**coverage, "unseen": None}).sentences) == 1


def test_one_photo_and_photos_that_look_away() -> None:
    single = advice_for(0)
    assert single.sentences[0].startswith("Take a second photo a step to the side")
    assert len(single.angles) == 1
    cameras = [ring_camera(azimuth, outwards=True) for azimuth in (0, 90, 180, 270)]
    ring = ring_of(cameras)
    assert not ring.converge
    assert advise(cameras, ring, CLEAR).angles == ()


def test_the_plan_draws_every_camera_where_it_stands() -> None:
    cameras = [ring_camera(azimuth) for azimuth in (-30, 0, 30)]
    named = [NamedCamera(c, split) for c, split in zip(cameras, ("train", "test", "train"), strict=True)]
    ring = ring_of([cameras[0], cameras[2]])
    drawn = plan(named, make_splats(40), ring, [60.0])
    assert drawn.count('class="train"') == 2
    assert drawn.count('class="test"') == drawn.count('class="next"') == 1
    assert "&lt;30&gt;.jpg: trained on" in drawn
    assert "<30>" not in drawn
    starts = {}
    for part in drawn.split("<g ")[1:]:
        x, y = part.split('points="')[1].split(" ")[0].split(",")
        starts[part.split("<title>")[1].split(":")[0]] = float(x), float(y)
    left, right = starts["&lt;-30&gt;.jpg"], starts["&lt;30&gt;.jpg"]
    assert left[0] < starts["&lt;0&gt;.jpg"][0] < right[0]
    assert left[1] == pytest.approx(right[1], abs=0.2)
    assert starts["&lt;0&gt;.jpg"][1] > left[1], "nearer to who looks from below"
    words = legend(named, True)
    assert "trained on" in words
    assert "held out" in words
    assert "photograph next" in words
    assert "not used" not in words
