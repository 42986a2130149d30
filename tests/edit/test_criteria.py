# SPDX-License-Identifier: Apache-2.0
"""Criteria find what their sentences say, and photos judge an edit before it is made."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from sparse3d.edit import CRITERIA, Context, Document, EditJudge, apply, found_by, replay
from sparse3d.errors import UsageError
from sparse3d.judge.floater_config import FloaterConfig
from sparse3d.judge.floaters import find_floaters, isolated
from sparse3d.judge.photos import PhotoView
from sparse3d.judge.support import count_support
from sparse3d.records.scene import Scene
from sparse3d.render import render
from tests.edit.clouds import before_it, cloud, same_bits


def _photo() -> PhotoView:
    camera = before_it()
    return PhotoView(camera, render(cloud(), camera).image.clamp(0, 1), None, torch.zeros(3))


def test_each_criterion_finds_what_it_says() -> None:
    splats, none = cloud(), Context()
    size = splats.scales.max(1).values.numpy()
    assert np.array_equal(found_by("faint", 0.3, splats, none), splats.opacities.numpy() < 0.3)
    assert np.array_equal(found_by("large", 1.3, splats, none), size > 1.3 * np.median(size))
    places = splats.means.numpy().astype(np.float64)
    distance = np.linalg.norm(places - np.median(places, axis=0), axis=1)
    assert np.array_equal(found_by("far", 1.2, splats, none), distance > 1.2 * np.median(distance))
    assert np.array_equal(found_by("isolated", 1, splats, none), isolated(splats, 1).numpy())
    counts = {name: found_by(name, value, splats, none).sum() for name, value in
              {"faint": 0.3, "large": 1.3, "far": 1.2, "isolated": 1}.items()}  # fmt: skip
    assert all(0 < number < 200 for number in counts.values()), counts


def test_photos_decide_once_and_the_project_keeps_their_answer() -> None:
    context = Context(photos=[_photo()])
    splats = cloud()
    splats.means[:20, 2] = 20.0
    document = Document(splats)
    unseen = count_support(splats, [before_it()]).numpy() < 1
    assert apply(document, {"op": "remove", "criterion": "unseen"}, context).count == unseen.sum() > 0
    assert np.array_equal(document.present, ~unseen)
    other = Document(splats)
    replay(other, document.operations)
    assert same_bits(other.splats(), document.splats())


def test_floaters_are_those_of_the_judge() -> None:
    splats = cloud()
    splats.logit_opacities[:10] = -6.0
    photos = [_photo()]
    expected = find_floaters(splats, photos, replace(FloaterConfig(), gain=0.4)).remove.numpy()
    assert np.array_equal(found_by("floaters", 0.4, splats, Context(photos=photos)), expected)
    assert expected.sum() > 0
    document = Document(splats)
    notes = apply(document, {"op": "remove", "criterion": "floaters"}).notes
    assert notes == ("floaters: there are no photos to judge by, so neighbours and opacity alone decided.",)


def test_what_is_locked_is_not_removed() -> None:
    document = Document(cloud())
    apply(document, {"op": "select_range", "of": "opacity", "high": 0.2})
    apply(document, {"op": "lock"})
    faint = found_by("faint", 0.3, document.splats(), Context())
    outcome = apply(document, {"op": "remove", "criterion": "faint", "value": 0.3})
    assert outcome.count == faint.sum() - document.flags["locked"].sum()
    assert "locked splats were left as they are" in outcome.notes[0]


def test_every_default_lies_in_its_range() -> None:
    assert all(criterion.low <= criterion.default <= criterion.high for criterion in CRITERIA.values())
    with pytest.raises(UsageError, match="there is no criterion 'ugly'"):
        found_by("ugly", None, cloud(), Context())


def test_photos_say_what_an_edit_costs_before_it_is_made(tiny_scene: Scene) -> None:
    """Splats before the camera cost what they hide, and none costs nothing."""
    splats = cloud(50)
    judge = EditJudge(tiny_scene, torch.zeros(3))
    nothing = judge.judge(splats, np.zeros(50, bool))
    assert nothing.count == 0
    assert nothing.before == nothing.after == judge.psnr(splats)
    gone = splats.opacities.numpy() > 0.5
    judged = judge.judge(splats, gone)
    assert judged.count == gone.sum()
    assert judged.before == nothing.before
    assert judged.after == judge.psnr(splats.select(torch.from_numpy(~gone))) != judged.before
    assert judged.held_out == bool(tiny_scene.test)
    assert judged.photos == len(tiny_scene.test or tiny_scene.train)
    assert EditJudge(tiny_scene, torch.zeros(3), most=1).judge(splats, gone).photos == 1
