# SPDX-License-Identifier: Apache-2.0
"""The edits that change the splats themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sparse3d.edit import colour, fields, ground, transform, volumes
from sparse3d.edit.context import Context
from sparse3d.edit.criteria import CRITERIA, found_by, said_of
from sparse3d.edit.document import Change, Document
from sparse3d.edit.fields import REQUIRED, Field
from sparse3d.edit.history import Bits
from sparse3d.edit.operation import ON_ALL, ON_SELECTION, Plan, given_rows, none, operation, spared, target, without
from sparse3d.errors import UsageError

_PLACE = fields.vector(3)
_ORIGIN = Field(_PLACE, (0.0, 0.0, 0.0))
_FACTOR = fields.number(0, 10)


@operation("delete")
def _delete(document: Document, args: Mapping[str, Any], context: Context) -> Plan:
    gone, _ = target(document, "selection", "delete")
    return Plan(Change(without(document, gone)), gone)


@operation("separate", file=Field(fields.text, ""))
def _separate(document: Document, args: Mapping[str, Any], context: Context) -> Plan:
    gone, _ = target(document, "selection", "separate")
    piece = document.all_rows().select(torch.from_numpy(gone))
    return Plan(Change(without(document, gone)), gone, pieces=((args["file"], piece),))


@operation("duplicate")
def _duplicate(document: Document, args: Mapping[str, Any], context: Context) -> Plan:
    chosen, _ = target(document, "selection", "duplicate")
    return Plan(Change({"selected": none(document)}, copied=chosen), chosen)


@operation("merge", file=Field(fields.text, REQUIRED))
def _merge(document: Document, args: Mapping[str, Any], context: Context) -> Plan:
    if context.read is None:
        raise UsageError("merge: other files cannot be read here; use a project file or `sparse3d edit`")
    added, notes = context.read(args["file"]), []
    if added.sh_degree != document.sh_degree:
        low, high = sorted((added.sh_degree, document.sh_degree))
        notes.append(f"{args['file']}: splats of SH degree {low} were padded with zeros to degree {high}.")
    if added.antialias != document.all_rows().antialias:
        kept = "with" if document.all_rows().antialias else "without"
        notes.append(
            f"{args['file']} was trained differently from the scene as to antialiasing; all are drawn {kept} it now, "
            "so opacities of small splats may look wrong."
        )
    new = np.ones(added.num_splats, bool)
    return Plan(Change({"selected": none(document)}, added=added), new, tuple(notes))


def _moved(document: Document, what: str, on: str, motion: NDArray[np.float64]) -> Plan:
    where, notes = target(document, on, what)
    return Plan(Change({}, where=where, motion=motion), where, notes)


@operation("move", shift=Field(_PLACE, REQUIRED), on=ON_SELECTION)
def _move(document: Document, args: Mapping[str, Any], context: Context) -> Plan:
    return _moved(document, "move", args["on"], transform.motion(shift=args["shift"]))


@operation("rotate", quat_wxyz=Field(fields.quaternion, REQUIRED), center=_ORIGIN, on=ON_SELECTION)
def _rotate(document: Document, args: Mapping[str, Any], context: Context) -> Plan:
    motion = transform.motion(quat_wxyz=args["quat_wxyz"], center=args["center"])
    return _moved(document, "rotate", args["on"], motion)


@operation("scale", factor=Field(fields.number(1e-6, 1e6), REQUIRED), center=_ORIGIN, on=ON_SELECTION)
def _scale(document: Document, args: Mapping[str, Any], context: Context) -> Plan:
    return _moved(document, "scale", args["on"], transform.motion(factor=args["factor"], center=args["center"]))


@operation("recolour", white=Field(fields.optional(fields.vector(3, 0.01, 1)), None),
           tint=Field(fields.vector(3, 0, 10), (1.0, 1.0, 1.0)), saturation=Field(_FACTOR, 1.0),
           contrast=Field(_FACTOR, 1.0), brightness=Field(fields.number(-1, 1), 0.0), on=ON_SELECTION)  # fmt: skip
def _recolour(document: Document, args: Mapping[str, Any], context: Context) -> Plan:
    look = {name: value for name, value in args.items() if name != "on"}
    return _moved(document, "recolour", args["on"], colour.recolouring(**look))


@operation("opacity", factor=Field(fields.number(0, 1000), 1.0),
           value=Field(fields.optional(fields.number(0, 1)), None), on=ON_SELECTION)  # fmt: skip
def _opacity(document: Document, args: Mapping[str, Any], context: Context) -> Plan:
    value = args["value"]
    if value is not None and args["factor"] != 1.0:
        raise UsageError("opacity has both factor and value; give one of them")
    motion = transform.fading(args["factor"]) if value is None else transform.fading(1.0, value, value)
    return _moved(document, "opacity", args["on"], motion)


@operation("ground", points=Field(fields.points(3, 3, 3), REQUIRED), up=Field(fields.choice(*ground.UP), "+z"))
def _ground(document: Document, args: Mapping[str, Any], context: Context) -> Plan:
    """Of the whole scene, hidden and locked splats too: they share its axes."""
    motion = ground.to_ground(document.splats(), args["points"], args["up"])
    return Plan(Change({}, where=document.present.copy(), motion=motion), document.present.copy())


def _cropped(document: Document, what: str, inside: Bits) -> Plan:
    gone = document.editable & ~inside
    if gone.any() and not (document.present & ~gone).any():
        raise UsageError(f"{what}: no splat lies inside, so all would go; look at its place and size")
    return Plan(Change(without(document, gone)), gone, spared(document))


@operation("crop_sphere", center=Field(_PLACE, REQUIRED), radius=Field(fields.number(0, 1e9), REQUIRED))
def _crop_sphere(document: Document, args: Mapping[str, Any], context: Context) -> Plan:
    return _cropped(document, "crop_sphere", volumes.in_sphere(document.all_rows(), args["center"], args["radius"]))


@operation("crop_box", center=Field(_PLACE, REQUIRED), size=Field(fields.vector(3, 0), REQUIRED),
           quat_wxyz=Field(fields.quaternion, (1.0, 0.0, 0.0, 0.0)))  # fmt: skip
def _crop_box(document: Document, args: Mapping[str, Any], context: Context) -> Plan:
    inside = volumes.in_box(document.all_rows(), args["center"], args["size"], args["quat_wxyz"])
    return _cropped(document, "crop_box", inside)


@operation("remove", criterion=Field(fields.choice(*CRITERIA), REQUIRED),
           value=Field(fields.optional(fields.number(0, 1e9)), None), on=ON_ALL,
           rows=Field(fields.rows, None))  # fmt: skip
def _remove(document: Document, args: Mapping[str, Any], context: Context) -> Plan:
    where, notes = target(document, args["on"], "remove")
    if args["rows"] is not None:
        found = given_rows(document, args["rows"], "remove")
    else:
        found = none(document)
        found[document.present] = found_by(args["criterion"], args["value"], document.splats(), context)
        notes = (*notes, *said_of(args["criterion"], context))
    gone = found & where
    if gone.any() and not (document.present & ~gone).any():
        raise UsageError(f"remove: all splats are {args['criterion']} by the value given; choose another value")
    return Plan(Change(without(document, gone)), gone, notes, rows_decide=CRITERIA[args["criterion"]].by_photos)
