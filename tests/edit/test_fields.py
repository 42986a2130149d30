# SPDX-License-Identifier: Apache-2.0
"""Every wrong edit is answered with one sentence that names the field."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparse3d.edit import OPERATIONS, Document, apply, camera_values, check_operations
from sparse3d.edit.fields import camera, rows, rows_values
from sparse3d.errors import UsageError
from tests.edit.clouds import before_it, cloud

CAMERA = camera_values(before_it())
WRONG: list[tuple[Any, str]] = [
    ({"op": "delte"}, "did you mean 'delete'"),
    ({}, "field op"),
    ("delete", "field op"),
    ({"op": "delete", "force": True}, "delete has no field 'force'; its fields are: none"),
    ({"op": "select_sphere", "center": [0, 0, 0]}, "needs the field radius"),
    ({"op": "select_sphere", "center": [0, 0], "radius": 1}, "center is .*list of 3 numbers"),
    ({"op": "select_sphere", "center": [0, 0, "a"], "radius": 1}, r"center\[2\] is 'a'; give a number"),
    ({"op": "select_sphere", "center": [0, 0, math.nan], "radius": 1}, r"center\[2\] is nan"),
    ({"op": "select_sphere", "center": [0, 0, 0], "radius": -1}, "radius is -1; give a number from 0"),
    ({"op": "select_sphere", "center": [0, 0, 0], "radius": True}, "radius is True"),
    ({"op": "select_all", "mode": "plus"}, "mode is 'plus'; choose one of replace, add"),
    ({"op": "rotate", "quat_wxyz": [0, 0, 0, 0]}, "must not be 0"),
    ({"op": "scale", "factor": 0}, "factor is 0"),
    ({"op": "opacity", "factor": 0.5, "value": 0.5}, "give one of them"),
    ({"op": "opacity", "value": 2}, "value is 2; give a number from 0 to 1"),
    ({"op": "grow_selection", "steps": 1.5}, "a whole number"),
    ({"op": "recolour", "white": [0, 1, 1]}, r"white\[0\] is 0"),
    ({"op": "select_polygon", "camera": CAMERA, "points": [[0, 0], [1, 1]]}, "a list of 2; give a list of 3"),
    ({"op": "select_click", "camera": {**CAMERA, "fx": 0}, "pixel": [0, 0]}, "focal length"),
    ({"op": "select_click", "camera": {**CAMERA, "skew": 0}, "pixel": [0, 0]}, "an object with width"),
    ({"op": "select_click", "camera": {**CAMERA, "cam_from_world": (2 * np.eye(4)).tolist()}, "pixel": [0, 0]}, "turn"),
    ({"op": "select_click", "camera": CAMERA, "pixel": [0, 0], "seen_only": 1}, "true or false"),
    ({"op": "select_rows", "rows": {"count": 5, "bits": "!"}}, "cannot be unpacked"),
    ({"op": "select_rows", "rows": {"count": 99, "bits": rows_values(np.ones(5, bool))["bits"]}}, "belong to 99 rows"),
    ({"op": "select_rows"}, "needs the field rows"),
    ({"op": "remove", "criterion": "ugly"}, "criterion is 'ugly'"),
    ({"op": "remove", "criterion": "faint", "value": 2}, "faint: the value is 2; give 0 to 1"),
    ({"op": "remove", "criterion": "unseen"}, "only photos can say that"),
    ({"op": "remove", "criterion": "faint", "value": 1}, "all splats are faint"),
    ({"op": "crop_sphere", "center": [99, 0, 0], "radius": 1}, "no splat lies inside"),
    ({"op": "ground", "points": [[0, 0, 0], [1, 1, 1], [2, 2, 2]]}, "on one line"),
    ({"op": "ground", "points": [[0, 0, 0], [1, 0, 0], [0, 1, 0]], "up": "z"}, "up is 'z'"),
    ({"op": "merge", "file": "more.ply"}, "cannot be read here"),
]


@pytest.mark.parametrize(("op", "sentence"), WRONG)
def test_a_wrong_edit_is_refused_and_changes_nothing(op: Any, sentence: str) -> None:
    document = Document(cloud(20))
    apply(document, {"op": "select_all"})
    with pytest.raises(UsageError, match=sentence):
        apply(document, op)
    assert len(document.operations) == 1
    assert document.present.all()


def test_a_list_says_which_edit_is_wrong() -> None:
    with pytest.raises(UsageError, match=r"script\.json, edit 2: there is no|script\.json, edit 2: unknown edit"):
        check_operations([{"op": "delete"}, {"op": "nothing"}], "script.json")
    with pytest.raises(UsageError, match="must be a list of edits"):
        check_operations({"op": "delete"}, "script.json")


@settings(deadline=None)
@given(st.lists(st.booleans(), max_size=300))
def test_rows_come_back(bits: list[bool]) -> None:
    assert rows(rows_values(np.array(bits, bool)), "rows").tolist() == bits


def test_a_bomb_of_zeros_is_not_unpacked() -> None:
    large = rows_values(np.zeros(50_000_000, bool))["bits"]
    with pytest.raises(UsageError, match="holds 3 bytes, 2 belong to 10 rows"):
        rows({"count": 10, "bits": large}, "rows")


def test_a_camera_comes_back() -> None:
    view = before_it()
    again = camera(CAMERA, "camera")
    assert (again.width, again.height, again.K.tolist()) == (view.width, view.height, view.K.tolist())
    assert np.array_equal(again.cam_from_world, view.cam_from_world)


_NONSENSE = st.sampled_from(
    [None, True, -1, 0.5, 2, 1e30, math.nan, "", "x", [], [1, 2], [1, 2, 3], [[0, 0]] * 4, {}, {"count": 1}]
)


@pytest.mark.parametrize("name", OPERATIONS.names())
@settings(max_examples=40, deadline=None)
@given(st.data())
def test_nonsense_is_never_more_than_a_usage_error(name: str, data: st.DataObject) -> None:
    names = [*OPERATIONS[name].fields, "of"]
    values = data.draw(st.dictionaries(st.sampled_from(names), _NONSENSE, max_size=4))
    document = Document(cloud(12))
    with contextlib.suppress(UsageError):
        apply(document, {"op": name, **values})
        assert len(document.operations) == 1
        return
    assert not document.operations
