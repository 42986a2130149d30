# SPDX-License-Identifier: Apache-2.0
"""Every error of a reader of scenes says what to do next: after what is wrong comes a semicolon (or a colon) and the
advice."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import sparse3d.load
import sparse3d.photos
from sparse3d.errors import DataError
from sparse3d.load import load_scene

# The next step is one of these, somewhere after what is wrong.
ADVICE = re.compile(
    r"[;:] ?[^;]*\b(add|check|choose|compute|convert|copy|correct|cut|export|give|leave|put|remove|repair|replace|run|"
    r"save|take|undistort|write|a mask is named)\b"
)
FOLDERS = [Path(sparse3d.load.__file__).parent / "parsers", Path(sparse3d.photos.__file__).parent]
# Readers of scenes of one data set each, and what a caller in this program did wrong.
OTHERS = {"llff.py", "neus.py", "middlebury.py", "pose_files.py", "matrices.py"}
OWN_FAULT = ("ImageStore:", "has no distortion to remove", "distortion coefficients; at most")


def messages() -> Iterator[tuple[str, str]]:
    """(file and line, text of the message with {} for its values) of each DataError."""
    for path in sorted(p for folder in FOLDERS for p in folder.glob("*.py") if p.name not in OTHERS):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "DataError":
                parts = ast.walk(node.args[0])
                text = "".join(
                    part.value if isinstance(part, ast.Constant) and isinstance(part.value, str) else _name(part)
                    for part in parts
                )
                yield f"{path.name}:{node.lineno}", text


def _name(part: ast.AST) -> str:
    # Advice that several sentences share, or that a function gives.
    return " ; correct " if isinstance(part, ast.Name) and part.id in ("_ANEW", "_what_it_is", "_refusal") else ""


def test_every_sentence_has_advice() -> None:
    found = [(where, text) for where, text in messages() if not any(own in text for own in OWN_FAULT)]
    assert len(found) > 50
    without = [(where, text) for where, text in found if not ADVICE.search(text)]
    assert without == []


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
