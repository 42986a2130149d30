# SPDX-License-Identifier: Apache-2.0
"""Editing splats: select, delete, move, recolour, undo; the same from a page, a script and a project file.

    document = Document(splats)                                    # the given splats are never changed
    apply(document, {"op": "select_box", "center": [0, 0, 0], "size": [1, 1, 1]}).count
    apply(document, {"op": "recolour", "saturation": 0.5})         # on the selection, or "on": "all"
    apply(document, {"op": "delete"})
    document.undo(); document.redo()                               # the edit, or None
    document.shown()                                               # .splats to draw, .selected, .rows
    document.splats()                                              # what is written to a file
    document.operations                                            # what replays to the same bits
    write_project(path, document, source); open_project(path)      # .s3dproj, the same bits again

`values_of(splats, name)` is what `select_range` selects by, for a histogram. `CRITERIA` are what `remove` and
`select_criterion` know, each with the range of its slider. `preview(document, op, context)` is the mask [N] of an edit
that is not made yet, and `EditJudge` says what photos lose by a mask. Masks are of the document's rows, `all_rows()`; a
deleted splat keeps its row. An edit that photos decide (`Context.photos`) is recorded with the rows that it found, so
that it replays without them. Every edit that cannot be made raises UsageError and changes nothing.
"""

from sparse3d.edit.apply import apply, check_operations, preview, replay
from sparse3d.edit.context import Context
from sparse3d.edit.criteria import CRITERIA, Criterion, found_by
from sparse3d.edit.document import Document, Outcome, Shown
from sparse3d.edit.fields import camera_values, rows_values
from sparse3d.edit.judged import EditJudge, Judged
from sparse3d.edit.operation import OPERATIONS
from sparse3d.edit.project import open_project, write_project
from sparse3d.edit.values import NAMES as VALUE_NAMES
from sparse3d.edit.values import values_of

__all__ = [
    "CRITERIA",
    "OPERATIONS",
    "VALUE_NAMES",
    "Context",
    "Criterion",
    "Document",
    "EditJudge",
    "Judged",
    "Outcome",
    "Shown",
    "apply",
    "camera_values",
    "check_operations",
    "found_by",
    "open_project",
    "preview",
    "replay",
    "rows_values",
    "values_of",
    "write_project",
]
