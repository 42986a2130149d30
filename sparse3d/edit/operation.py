# SPDX-License-Identifier: Apache-2.0
"""What an edit is: a name, fields that are checked, and a function of the document."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparse3d.edit.context import Context
from sparse3d.edit.document import Change, Document
from sparse3d.edit.fields import Field, choice
from sparse3d.edit.history import Bits
from sparse3d.errors import UsageError
from sparse3d.registry import Registry
from sparse3d.splats import Splats

ON_SELECTION = Field(choice("selection", "all"), "selection")
ON_ALL = Field(choice("selection", "all"), "all")


@dataclass(frozen=True)
class Plan:
    """What an edit would do. mask [N]: the rows that it is about. rows_decide: the mask cannot be made again from the
    edit alone, so the rows go into the project. pieces: as in Outcome."""

    change: Change
    mask: Bits
    notes: tuple[str, ...] = ()
    pieces: tuple[tuple[str, Splats], ...] = ()
    rows_decide: bool = False


@dataclass(frozen=True)
class Operation:
    """run(document, checked fields, context) changes nothing by itself."""

    name: str
    fields: Mapping[str, Field]
    run: Callable[[Document, Mapping[str, Any], Context], Plan]


OPERATIONS: Registry[Operation] = Registry("edit")


def operation(name: str, **fields: Field) -> Callable[[Callable[..., Plan]], Callable[..., Plan]]:
    """Decorator: puts an edit into the table."""

    def put(run: Callable[..., Plan]) -> Callable[..., Plan]:
        OPERATIONS.register(name)(Operation(name, fields, run))
        return run

    return put


def target(document: Document, on: str, what: str) -> tuple[Bits, tuple[str, ...]]:
    """([N] the rows that an edit is for, notes). on "all": all but hidden and locked ones, which are counted."""
    if on == "selection":
        if not document.selected.any():
            raise UsageError(f'{what}: nothing is selected; select splats first, or give "on": "all"')
        return document.selected.copy(), ()
    return document.editable, spared(document)


def spared(document: Document) -> tuple[str, ...]:
    """The note on splats that an edit of everything leaves alone."""
    number = int((document.present & ~document.editable).sum())
    return (f"{number:,} hidden or locked splats were left as they are.",) if number else ()


def without(document: Document, gone: Bits) -> dict[str, Bits]:
    """The flags after the rows `gone` [N] are deleted."""
    return {name: bits & ~gone for name, bits in document.flags.items()}


def given_rows(document: Document, rows: Bits, name: str) -> Bits:
    """The field `rows` of an edit. Raises UsageError where it is of another number of splats."""
    if len(rows) != document.num_rows:
        raise UsageError(f"{name}.rows is of {len(rows)} splats, there are {document.num_rows}; the source has changed")
    return rows


def none(document: Document) -> Bits:
    return np.zeros(document.num_rows, bool)
