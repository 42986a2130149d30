# SPDX-License-Identifier: Apache-2.0
"""The edits that change which splats are selected, hidden or locked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from sparse3d.edit import fields, neighbours, picture, volumes
from sparse3d.edit.context import Context
from sparse3d.edit.criteria import CRITERIA, found_by, said_of
from sparse3d.edit.document import Change, Document
from sparse3d.edit.fields import REQUIRED, Field
from sparse3d.edit.history import Bits
from sparse3d.edit.operation import Plan, given_rows, none, operation
from sparse3d.edit.values import NAMES, in_range, values_of
from sparse3d.errors import UsageError

_PLACE = fields.vector(3)
_MODE = Field(fields.choice("replace", "add", "subtract", "intersect"), "replace")
_BOUND = Field(fields.optional(fields.number(-1e9, 1e9)), None)
_ROWS = Field(fields.rows, None)
_PICTURE = {
    "camera": Field(fields.camera, REQUIRED),
    "seen_only": Field(fields.flag, False),
}
# A mask [N], and whether it needs more than the edit says.
_Found = tuple[Bits, bool]


def selection(name: str, **more: Field) -> Callable[[Callable[..., _Found]], Callable[..., _Found]]:
    """Decorator: an edit that selects what the function finds, as `mode` says; only what can be edited."""

    def put(find: Callable[[Document, Mapping[str, Any], Context], _Found]) -> Callable[..., _Found]:
        def run(document: Document, args: Mapping[str, Any], context: Context) -> Plan:
            notes: tuple[str, ...] = ()
            if args["rows"] is not None:
                found, decide = given_rows(document, args["rows"], name), True
            else:
                found, decide = find(document, args, context)
                notes = said_of(args["criterion"], context) if "criterion" in args else ()
            after = _combined(document.selected, found & document.editable, args["mode"])
            return Plan(Change({"selected": after}), after, notes, rows_decide=decide)

        operation(name, **more, mode=_MODE, rows=_ROWS)(run)
        return find

    return put


def _combined(old: Bits, new: Bits, mode: str) -> Bits:
    if mode == "add":
        return old | new
    if mode == "subtract":
        return old & ~new
    return old & new if mode == "intersect" else new


def _seen(document: Document, args: Mapping[str, Any], at: picture.Projected) -> Bits:
    """[N] through everything, or only what the splats that are shown do not hide."""
    if not args["seen_only"]:
        return at.ahead
    depth = picture.depth_picture(document.shown().splats, args["camera"])
    return picture.seen_in(document.all_rows(), args["camera"], depth)


@selection("select_click", **_PICTURE, pixel=Field(fields.vector(2), REQUIRED),
           radius=Field(fields.number(0.5, 500), 8.0))  # fmt: skip
def _click(document: Document, args: Mapping[str, Any], context: Context) -> _Found:
    at = picture.project(document.all_rows(), args["camera"])
    found = none(document)
    row = picture.at_click(at, args["pixel"], args["radius"], _seen(document, args, at) & document.editable)
    if row is not None:
        found[row] = True
    return found, args["seen_only"]


@selection("select_rectangle", **_PICTURE, corners=Field(fields.vector(4), REQUIRED))
def _rectangle(document: Document, args: Mapping[str, Any], context: Context) -> _Found:
    at = picture.project(document.all_rows(), args["camera"])
    return picture.in_rectangle(at, args["corners"]) & _seen(document, args, at), args["seen_only"]


@selection("select_polygon", **_PICTURE, points=Field(fields.points(2, 3), REQUIRED))
def _polygon(document: Document, args: Mapping[str, Any], context: Context) -> _Found:
    at = picture.project(document.all_rows(), args["camera"])
    return picture.in_polygon(at, args["points"]) & _seen(document, args, at), args["seen_only"]


@selection("select_brush", **_PICTURE, points=Field(fields.points(2, 1), REQUIRED),
           radius=Field(fields.number(0.5, 2000), REQUIRED))  # fmt: skip
def _brush(document: Document, args: Mapping[str, Any], context: Context) -> _Found:
    at = picture.project(document.all_rows(), args["camera"])
    found = picture.under_brush(at, args["points"], args["radius"])
    return found & _seen(document, args, at), args["seen_only"]


@selection("select_sphere", center=Field(_PLACE, REQUIRED), radius=Field(fields.number(0, 1e9), REQUIRED))
def _sphere(document: Document, args: Mapping[str, Any], context: Context) -> _Found:
    return volumes.in_sphere(document.all_rows(), args["center"], args["radius"]), False


@selection("select_box", center=Field(_PLACE, REQUIRED), size=Field(fields.vector(3, 0), REQUIRED),
           quat_wxyz=Field(fields.quaternion, (1.0, 0.0, 0.0, 0.0)))  # fmt: skip
def _box(document: Document, args: Mapping[str, Any], context: Context) -> _Found:
    return volumes.in_box(document.all_rows(), args["center"], args["size"], args["quat_wxyz"]), False


@selection("select_range", of=Field(fields.text, REQUIRED), low=_BOUND, high=_BOUND,
           point=Field(_PLACE, (0.0, 0.0, 0.0)))  # fmt: skip
def _range(document: Document, args: Mapping[str, Any], context: Context) -> _Found:
    values = values_of(document.all_rows(), args["of"], point=args["point"], given=context.values)
    return in_range(values, args["low"], args["high"]), args["of"] not in NAMES or args["of"] in context.values


@selection("select_flood", point=Field(_PLACE, REQUIRED), tolerance=Field(fields.number(0, 10), 0.1),
           reach=Field(fields.optional(fields.number(0, 1e9)), None))  # fmt: skip
def _flood(document: Document, args: Mapping[str, Any], context: Context) -> _Found:
    rows = np.flatnonzero(document.editable)
    found = none(document)
    if len(rows):
        index = neighbours.index_of(document.all_rows(), rows)
        near = neighbours.flooded(index, args["point"], tolerance=args["tolerance"], reach=args["reach"])
        found[rows[near]] = True
    return found, False


@selection("select_criterion", criterion=Field(fields.choice(*CRITERIA), REQUIRED),
           value=Field(fields.optional(fields.number(0, 1e9)), None))  # fmt: skip
def _criterion(document: Document, args: Mapping[str, Any], context: Context) -> _Found:
    found = none(document)
    found[document.present] = found_by(args["criterion"], args["value"], document.splats(), context)
    return found, CRITERIA[args["criterion"]].by_photos


@selection("select_all")
def _all(document: Document, args: Mapping[str, Any], context: Context) -> _Found:
    return document.editable, False


@selection("select_rows")
def _rows(document: Document, args: Mapping[str, Any], context: Context) -> _Found:
    raise UsageError("select_rows needs the field rows: which splats, as a project file has it")


@operation("select_none")
def _none(document: Document, args: Mapping[str, Any], context: Context) -> Plan:
    return Plan(Change({"selected": none(document)}), document.selected.copy())


@operation("invert_selection")
def _invert(document: Document, args: Mapping[str, Any], context: Context) -> Plan:
    after = document.editable & ~document.selected
    return Plan(Change({"selected": after}), after)


def _step_by_neighbours(document: Document, steps: int, *, grow: bool) -> Plan:
    rows = np.flatnonzero(document.editable)
    after = document.selected.copy()
    if len(rows):
        index = neighbours.index_of(document.all_rows(), rows)
        after[rows] = neighbours.stepped(index, after[rows], steps, grow=grow)
    return Plan(Change({"selected": after}), after)


@operation("grow_selection", steps=Field(fields.number(1, 50, whole=True), 1))
def _grow(document: Document, args: Mapping[str, Any], context: Context) -> Plan:
    return _step_by_neighbours(document, args["steps"], grow=True)


@operation("shrink_selection", steps=Field(fields.number(1, 50, whole=True), 1))
def _shrink(document: Document, args: Mapping[str, Any], context: Context) -> Plan:
    return _step_by_neighbours(document, args["steps"], grow=False)


def _put_away(document: Document, flag: str) -> Plan:
    chosen = document.selected.copy()
    if not chosen.any():
        raise UsageError(f"nothing is selected that could be {flag}; select splats first")
    return Plan(Change({flag: document.flags[flag] | chosen, "selected": none(document)}), chosen)


@operation("hide")
def _hide(document: Document, args: Mapping[str, Any], context: Context) -> Plan:
    return _put_away(document, "hidden")


@operation("lock")
def _lock(document: Document, args: Mapping[str, Any], context: Context) -> Plan:
    return _put_away(document, "locked")


@operation("show_all")
def _show_all(document: Document, args: Mapping[str, Any], context: Context) -> Plan:
    return Plan(Change({"hidden": none(document)}), document.flags["hidden"].copy())


@operation("unlock_all")
def _unlock_all(document: Document, args: Mapping[str, Any], context: Context) -> Plan:
    return Plan(Change({"locked": none(document)}), document.flags["locked"].copy())
