# SPDX-License-Identifier: Apache-2.0
"""Edits as JSON objects: checked, previewed and made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

# Importing a module puts its edits into the table.
from sparse3d.edit import editing as _editing  # noqa: F401
from sparse3d.edit import selecting as _selecting  # noqa: F401
from sparse3d.edit.document import Document, Outcome
from sparse3d.edit.fields import checked, rows_values
from sparse3d.edit.history import Bits
from sparse3d.edit.operation import OPERATIONS, Context, Operation, Plan
from sparse3d.errors import UsageError

MAX_OPERATIONS = 100_000


def apply(document: Document, op: Mapping[str, Any], context: Context | None = None) -> Outcome:
    """Make one edit, {"op": name, field: value, ...}, as one step of the history.

    Raises UsageError, and changes nothing, for an unknown edit or field, a value of the wrong type or out of range,
    and where nothing is selected that the edit needs.
    """
    plan = _plan(document, op, context or Context())
    recorded = {**op, "rows": rows_values(plan.mask)} if plan.rows_decide and "rows" not in op else op
    # Which rows an edit found is the answer of its mode too, so the mode is done with.
    if recorded is not op and "mode" in op:
        recorded = {**recorded, "mode": "replace"}
    said = document.make(recorded, plan.change)
    return Outcome(int(plan.mask.sum()), (*plan.notes, *said), plan.pieces)


def preview(document: Document, op: Mapping[str, Any], context: Context | None = None) -> Bits:
    """[N] the rows that an edit would take (delete, move, be selected after it), without making it."""
    return _plan(document, op, context or Context()).mask


def check_operations(ops: Any, where: str) -> list[dict[str, Any]]:
    """A list of edits that came from JSON, every field looked at. Raises UsageError that says which one is wrong."""
    if not isinstance(ops, list):
        raise UsageError(f'{where} must be a list of edits, as [{{"op": "select_all"}}]; found {type(ops).__name__}')
    if len(ops) > MAX_OPERATIONS:
        raise UsageError(f"{where} holds {len(ops)} edits; more than {MAX_OPERATIONS} are not taken, split them")
    for number, op in enumerate(ops, 1):
        try:
            checked(op, operation_of(op).fields, str(op["op"]))
        except UsageError as error:
            raise UsageError(f"{where}, edit {number}: {error}") from None
    return ops


def replay(document: Document, ops: Iterable[Mapping[str, Any]], context: Context | None = None) -> list[Outcome]:
    """Make the edits one after the other; a UsageError says which one could not be made."""
    done = []
    for number, op in enumerate(ops, 1):
        try:
            done.append(apply(document, op, context))
        except UsageError as error:
            raise UsageError(f"edit {number} ({op.get('op')}): {error}") from None
    return done


def operation_of(op: Any) -> Operation:
    """Raises UsageError for what is no edit, naming the nearest."""
    if not isinstance(op, Mapping) or not isinstance(op.get("op"), str):
        raise UsageError('an edit is an object with the field op, as {"op": "delete"}')
    return OPERATIONS[op["op"]]


def _plan(document: Document, op: Mapping[str, Any], context: Context) -> Plan:
    found = operation_of(op)
    return found.run(document, checked(op, found.fields, found.name), context)
