# SPDX-License-Identifier: Apache-2.0
"""The repository's own rules, which no linter knows. Prints each finding and ends with 1 where there is one.

Checked on every file that git tracks, or would: size, length, the licence line, paths of somebody's machine, words that
mark unfinished work, and ways of reading data that could run code.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from code_rules import code_findings

MAX_BYTES = 1_500_000
MAX_LINES = 400
SOURCE = {".py", ".h", ".cpp", ".cu", ".cuh", ".ts", ".mjs"}
TEXT = SOURCE | {".md", ".toml", ".txt", ".yml", ".yaml", ".json", ".cmake", ""}
# Written so that this file does not find itself.
UNFINISHED = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X|HA" + r"CK)\b")
MACHINE_PATH = re.compile(r"(?<![\w.])/(wo" + r"rk|fa" + r"rm|ro" + r"ot|ho" + r"me/\w+|Us" + r"ers/\w+)/[\w.]")
RUNS_CODE = (
    re.compile(r"allow_pick" + r"le\s*=\s*True"),
    re.compile(r"\bimport pick" + r"le\b|\bfrom pick" + r"le\b"),
    re.compile(r"\btorch\.(lo" + r"ad|sa" + r"ve)\("),
    re.compile(r"\byaml\.(unsafe_|full_)?lo" + r"ad\("),
)


def tracked_files(root: Path) -> list[Path]:
    """Files that git tracks or would track (not ignored), that exist."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        check=True,
    )
    return sorted(
        {root / name for name in listing.stdout.decode("utf-8").split("\0") if name and (root / name).is_file()}
    )


def findings_in(path: Path, name: str) -> Iterator[str]:
    """What is wrong with one file; `name` is how it is called in the text."""
    data = path.read_bytes()
    if len(data) > MAX_BYTES:
        yield f"{name}: {len(data)} bytes; a tracked file has at most {MAX_BYTES}"
    is_source = path.suffix in SOURCE or name == "scripts/do"
    if not (is_source or path.suffix in TEXT) or b"\0" in data:
        return
    lines = data.decode("utf-8").splitlines()
    if is_source:
        if len(lines) > MAX_LINES:
            yield f"{name}: {len(lines)} lines; is it still one idea? (at most {MAX_LINES})"
        if lines and "SPDX-License-Identifier: Apache-2.0" not in "\n".join(lines[:2]):
            yield f"{name}:1: the SPDX line is missing"
    for number, line in enumerate(lines, 1):
        if UNFINISHED.search(line) and is_source:
            yield f"{name}:{number}: marks unfinished work: {line.strip()[:80]}"
        if MACHINE_PATH.search(line):
            yield f"{name}:{number}: a path of one machine: {line.strip()[:80]}"
        # Tests write such files to show that they are refused.
        if is_source and not name.startswith("tests/") and any(pattern.search(line) for pattern in RUNS_CODE):
            yield f"{name}:{number}: data that is read could run code: {line.strip()[:80]}"


def findings(root: Path) -> list[str]:
    found = []
    for path in tracked_files(root):
        name = path.relative_to(root).as_posix()
        found += findings_in(path, name)
        if name.startswith("sparse3d/") and path.suffix == ".py":
            found += code_findings(name, path.read_text(encoding="utf-8"))
    return found


def main() -> int:
    found = findings(Path(__file__).resolve().parents[1])
    for text in found:
        print(text)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
