# SPDX-License-Identifier: Apache-2.0
"""A document's steps: every one back and again to the same bits, in little memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparse3d.edit import Context, Document, apply, replay, rows_values
from sparse3d.errors import UsageError
from tests.edit.clouds import cloud, same_bits

EDITS: list[dict[str, Any]] = [
    {"op": "select_box", "center": [0.3, 0, 0], "size": [1, 2, 2]},
    {"op": "select_sphere", "center": [0, 0, 0], "radius": 0.8, "mode": "add"},
    {"op": "select_range", "of": "opacity", "low": 0.5},
    {"op": "recolour", "saturation": 0.3, "contrast": 1.2, "on": "all"},
    {"op": "recolour", "tint": [1, 0.5, 0.25], "white": [0.5, 0.6, 0.7], "on": "all"},
    {"op": "rotate", "quat_wxyz": [0.9, 0.1, 0.3, -0.2], "center": [1, 0, 0], "on": "all"},
    {"op": "scale", "factor": 1.5, "on": "all"},
    {"op": "move", "shift": [0.5, 0, 0], "on": "all"},
    {"op": "opacity", "factor": 0.5, "on": "all"},
    {"op": "merge", "file": "more"},
    {"op": "crop_sphere", "center": [0, 0, 0], "radius": 1.4},
    {"op": "invert_selection"},
    {"op": "show_all"},
]
ON_SELECTION = [{"op": name} for name in ("delete", "duplicate", "hide", "lock", "separate")] + [
    {"op": "move", "shift": [0.1, 0.2, 0.3]},
    {"op": "recolour", "brightness": 0.1},
    {"op": "opacity", "value": 0.7},
]
MORE = Context(read=lambda name: cloud(30, degree=3, seed=5))


def state(document: Document) -> tuple[Any, ...]:
    values = tuple(tensor.numpy().tobytes() for _, tensor in document.all_rows().named())
    return (*values, *(bits.tobytes() for bits in document.flags.values()))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from([*EDITS, *ON_SELECTION]), min_size=3, max_size=10), st.data())
def test_every_step_goes_back_and_forth_and_replays_to_the_same_bits(ops: list[dict[str, Any]], data: Any) -> None:
    document = Document(cloud())
    states = [state(document)]
    for op in ops:
        try:
            apply(document, op, MORE)
        except UsageError:
            assert state(document) == states[-1]
            continue
        states.append(state(document))
    steps = data.draw(st.integers(0, len(states) - 1))
    for number in range(steps):
        assert document.undo() is not None
        assert state(document) == states[-2 - number]
    for number in range(steps):
        assert document.redo() is not None
        assert state(document) == states[len(states) - steps + number]
    for _ in range(steps):
        document.undo()
    apply(document, {"op": "recolour", "contrast": 0.9, "on": "all"})
    other = Document(cloud())
    replay(other, document.operations, MORE)
    assert state(other) == state(document)


def test_delete_and_undo() -> None:
    splats = cloud()
    document = Document(splats)
    outcome = apply(document, {"op": "select_range", "of": "x", "low": 0})
    assert outcome.count == int((splats.means[:, 0] >= 0).sum()) == document.selected.sum()
    assert apply(document, {"op": "delete"}).count == outcome.count
    assert same_bits(document.splats(), splats.select(splats.means[:, 0] < 0))
    assert not document.selected.any()
    assert document.undo() == {"op": "delete"}
    assert document.selected.sum() == outcome.count
    assert same_bits(document.splats(), splats)


def test_the_given_splats_are_never_changed() -> None:
    splats = cloud()
    document = Document(splats)
    apply(document, {"op": "move", "shift": [1, 0, 0], "on": "all"})
    assert same_bits(splats, cloud())
    assert torch.allclose(document.splats().means, splats.means + torch.tensor([1.0, 0, 0]))


def test_many_edits_round_once() -> None:
    splats = cloud()
    document = Document(splats)
    for _ in range(50):
        apply(document, {"op": "scale", "factor": 2.0, "on": "all"})
        apply(document, {"op": "scale", "factor": 0.5, "on": "all"})
    assert same_bits(document.splats(), splats)


def test_what_is_hidden_is_not_shown_and_cannot_be_selected() -> None:
    document = Document(cloud())
    count = apply(document, {"op": "select_range", "of": "x", "low": 0}).count
    apply(document, {"op": "hide"})
    shown = document.shown()
    assert shown.splats.num_splats == document.num_rows - count
    assert same_bits(shown.splats, document.all_rows().select(torch.from_numpy(shown.rows)))
    assert apply(document, {"op": "select_all"}).count == document.num_rows - count
    note = apply(document, {"op": "move", "shift": [1, 0, 0], "on": "all"}).notes
    assert note == (f"{count:,} hidden or locked splats were left as they are.",)
    assert apply(document, {"op": "show_all"}).count == count
    assert document.splats().num_splats == document.num_rows


def test_a_locked_splat_stays_as_it_is() -> None:
    document = Document(cloud())
    apply(document, {"op": "select_range", "of": "x", "low": 0})
    locked = document.selected.copy()
    apply(document, {"op": "lock"})
    apply(document, {"op": "move", "shift": [1, 0, 0], "on": "all"})
    apply(document, {"op": "select_all"})
    apply(document, {"op": "delete"})
    assert same_bits(document.splats(), cloud().select(torch.from_numpy(locked)))


def test_a_hundred_steps_take_less_than_they_may() -> None:
    count = 20_000  # A tenth of the splats that 200 MB are for.
    document = Document(cloud(count, degree=0))
    rng = np.random.default_rng(1)
    for number in range(25):
        bits = rng.random(count) < 0.5
        apply(document, {"op": "select_rows", "rows": rows_values(bits & document.editable)})
        apply(document, {"op": "recolour", "saturation": 0.9})
        apply(document, {"op": "move", "shift": [0.01, 0, 0]})
        apply(document, {"op": "select_sphere", "center": [0, 0, 0], "radius": 0.05 * number, "mode": "intersect"})
        if document.selected.any():
            apply(document, {"op": "delete"})
    assert len(document.history.done) >= 100
    assert document.history.dropped == 0
    assert document.memory < 20_000_000


def test_the_oldest_steps_go_when_the_memory_is_used_up_and_that_is_said() -> None:
    document = Document(cloud(), memory_limit=2500)
    notes = [apply(document, {"op": "select_all"}).notes for _ in range(8)]
    assert notes[0] == ()
    assert "can no longer be undone" in notes[-1][0]
    steps = 0
    while document.undo():
        steps += 1
    assert steps == 8 - document.history.dropped < 8


@pytest.mark.parametrize("op", ON_SELECTION)
def test_without_a_selection_an_edit_says_so(op: dict[str, Any]) -> None:
    document = Document(cloud())
    with pytest.raises(UsageError, match="nothing is selected"):
        apply(document, op)
    assert not document.history.done
    assert document.undo() is None
    assert document.redo() is None
