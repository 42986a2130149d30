# SPDX-License-Identifier: Apache-2.0
"""Every error of a reader of scenes says what to do next: after what is wrong comes a semicolon (or a colon) and the
advice."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import sparse3d.formats
import sparse3d.load
import sparse3d.photos
from sparse3d.errors import DataError
from sparse3d.formats.checks import damaged
from sparse3d.load import load_scene

# The next step is one of these, somewhere after what is wrong.
ADVICE = re.compile(
    r"[;:] ?[^;]*\b(add|apply|check|choose|compute|convert|copy|correct|cut|export|fetch|give|leave|make|move|put|"
    r"remove|repair|replace|run|save|take|try|undistort|unpack|write|a mask is named)\b"
)
# What is wrong with an option is told by naming what it may be.
RANGE = re.compile(r"expected|known|must|needs?\b|degrees|lower bound|no up direction|not a picture|only https")
LOAD, FORMATS = Path(sparse3d.load.__file__).parent, Path(sparse3d.formats.__file__).parent
FILES = [
    *(LOAD / "parsers").glob("*.py"), *Path(sparse3d.photos.__file__).parent.glob("*.py"), *FORMATS.rglob("*.py"),
    *(LOAD / name for name in ("archives.py", "download.py", "scene.py")),
]  # fmt: skip
# What a caller in this program did wrong.
OWN_FAULT = ("ImageStore:", "has no distortion to remove", "distortion coefficients; at most")


def messages(kind: str) -> Iterator[tuple[str, str]]:
    """(file and line, text of the message with nothing for its values) of each error of that kind."""
    for path in sorted(FILES):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == kind:
                parts = ast.walk(node.args[0])
                text = "".join(
                    part.value if isinstance(part, ast.Constant) and isinstance(part.value, str) else _name(part)
                    for part in parts
                )
                # An error that is passed on with the path before it has its own advice.
                if text not in (": ", "level : "):
                    yield f"{path.name}:{node.lineno}", text


def _name(part: ast.AST) -> str:
    # Advice that several sentences share, or that a function gives.
    shared = ("_ANEW", "_what_it_is", "_refusal", "advice")
    if isinstance(part, ast.Attribute):
        return " ; correct " if part.attr == "advice" else ""
    return " ; correct " if isinstance(part, ast.Name) and part.id in shared else ""


def test_every_sentence_has_advice() -> None:
    found = [(where, text) for where, text in messages("DataError") if not any(own in text for own in OWN_FAULT)]
    assert len(found) > 120
    assert {where.split(":")[0] for where, _ in found} > {"llff.py", "neus.py", "middlebury.py", "ply.py", "rows.py"}
    without = [(where, text) for where, text in found if not ADVICE.search(text)]
    assert without == []


def test_errors_of_damaged_files_have_the_advice_they_share() -> None:
    assert len(list(messages("damaged"))) > 60
    assert ADVICE.search(str(damaged("PLY is cut off")))


def test_errors_of_options_name_what_they_may_be() -> None:
    found = list(messages("UsageError"))
    assert len(found) > 10
    assert [(where, text) for where, text in found if not (ADVICE.search(text) or RANGE.search(text))] == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            '{"frames": [',
            "is not valid JSON: Expecting value in line 1, column 13; correct it there, or write the file anew",
        ),
        ("[1]", "expected a JSON object at the top, found list; give a transforms.json, or the photos' folder"),
        (b"\xff{}", "is not UTF-8 text (byte 0); save it as UTF-8"),
    ],
)
def test_broken_json(tmp_path: Path, content: str | bytes, message: str) -> None:
    path = tmp_path / "transforms.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError) as caught:
        load_scene(tmp_path)
    assert str(caught.value) == f"{path}: {message}"
