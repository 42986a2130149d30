# SPDX-License-Identifier: Apache-2.0
"""Whether the lower bounds of pyproject.toml's dependencies hold: a choice of tests, run with exactly those releases.

The releases are installed into build/lower-bounds/site, and that folder goes first on the module path of the
environment that is there already: torch, the compiled kernels and pytest are that environment's own, so nothing is
built and little is downloaded. Run by itself it takes the environment in .venv:  python scripts/lower_bounds.py
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from count_tests import count_tests

Say = Callable[[str], None]

LEFT_OUT = {
    "torch": "one release of it is several hundred MB, and the kernels are tested against the one in the environment",
    "tomli": "only Python 3.10 asks for it",
    "viser": "nothing imports it yet, and what 0.2.7 needs has to be compiled",
}
# Reading every kind of photo, and videos; writing and reading formats; cameras from photos; a few steps of training;
# the command line.
TESTS = (
    "tests/photos",
    "tests/formats/test_goldens.py",
    "tests/formats/test_lossy.py",
    "tests/formats/test_sog.py",
    "tests/load/test_parsers.py",
    "tests/sfm/test_matches.py",
    "tests/sfm/test_reconstruct_wide.py",
    "tests/sfm/test_triangulate.py",
    "tests/depth/test_hull.py",
    "tests/start",
    "tests/runs/test_pipeline.py",
    "tests/cli/test_convert.py",
    "tests/cli/test_entry.py",
    "tests/cli/test_errors.py",
    "tests/cli/test_run_args.py",
    "tests/cli/test_video.py",
)
# Sentences that end in safetensors' own words, which have changed.
WITHOUT = (
    "tests/cli/test_errors.py::test_sentence[lpips weights not there]",
    "tests/cli/test_errors.py::test_sentence[replay another file]",
)
_REQUIREMENT = re.compile(r"([A-Za-z0-9][\w.-]*)(?:\[[\w,-]+\])?(?:>=([\w.]+))?")


def lower_bounds(pyproject: str) -> dict[str, str]:
    """Lowest release by name of what [project] depends on, without those LEFT_OUT. Raises ValueError, naming it, for a
    dependency without `>=`."""
    block = re.search(r"^dependencies = \[\n(.*?)^\]", pyproject, re.M | re.S)
    if block is None:
        raise ValueError("pyproject.toml has no list `dependencies`")
    bounds = {}
    for text in re.findall(r'^\s*"([^"]+)"', block[1], re.M):
        name, lowest = _REQUIREMENT.match(text).groups()  # type: ignore[union-attr]
        if name in LEFT_OUT:
            continue
        if lowest is None:
            raise ValueError(f"dependency {text!r} has no lower bound (NAME>=RELEASE)")
        bounds[name] = lowest
    return bounds


def run_lower_bounds(repo: Path, python: Path, say: Say) -> dict[str, int]:
    """Counts of passed, failed and skipped tests with the lowest releases; python: of the environment that `scripts/do
    setup` made, with pytest in it. A release that cannot be installed counts as one failure, and is said."""
    bounds = lower_bounds((repo / "pyproject.toml").read_text(encoding="utf-8"))
    folder = repo / "build" / "lower-bounds"
    began = time.monotonic()
    problem = _install(bounds, folder, python) or _wrong_releases(bounds, folder / "site", python)
    if problem:
        say(f"lower bounds: {problem}")
        return {"failed": 1}
    say(f"lower bounds: {', '.join(f'{n} {v}' for n, v in bounds.items())}, {time.monotonic() - began:.0f} s")
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.xml"
        options = [f"--junitxml={report}", "-p", "no:cacheprovider", *(f"--deselect={test}" for test in WITHOUT)]
        command = [python, "-m", "pytest", "-q", *options, *TESTS]
        subprocess.run(command, cwd=repo, env=_env(folder / "site"), check=False)
        if not report.is_file():
            say("lower bounds: pytest ended without a report")
            return {"failed": 1}
        return count_tests(report, repo / "tests" / "allowed_skips.txt", say)


def _env(site: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(site)}


def _install(bounds: Mapping[str, str], folder: Path, python: Path) -> str:
    """The releases in folder/site, kept from the last call where they are the same; what went wrong, else ""."""
    constraints = "".join(f"{name}=={release}\n" for name, release in bounds.items())
    version = subprocess.run([python, "-VV"], capture_output=True, text=True, check=True).stdout
    stamp = folder / "installed.txt"
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == version + constraints:
        return ""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "constraints.txt").write_text(constraints, encoding="utf-8")
    command = [python, "-m", "pip", "install", "-q", "--no-compile", "--only-binary=:all:", "--target", folder / "site"]
    # No upper limit on what these need themselves: their own bounds decide, as they do for a user.
    done = subprocess.run(
        [*command, "-c", folder / "constraints.txt", *bounds], capture_output=True, text=True, check=False
    )
    if done.returncode:
        return f"pip could not install them: {done.stderr.strip()[-1500:]}"
    stamp.write_text(version + constraints, encoding="utf-8")
    return ""


def _wrong_releases(bounds: Mapping[str, str], site: Path, python: Path) -> str:
    """What a program that runs with the folder in front finds instead of the bounds; "" where it finds just these."""
    code = (
        "import importlib.metadata as m, json, sys; "
        "print(json.dumps({n: [m.version(n), str(m.distribution(n).locate_file(''))] for n in sys.argv[1:]}))"
    )
    done = subprocess.run([python, "-c", code, *bounds], env=_env(site), capture_output=True, text=True, check=False)
    if done.returncode:
        return f"their releases cannot be read: {done.stderr.strip()[-500:]}"
    found = json.loads(done.stdout)
    wrong = [
        f"{name} {found[name][0]} in {found[name][1]}"
        for name, lowest in bounds.items()
        if _plain(found[name][0]) != _plain(lowest) or Path(found[name][1]).resolve() != site.resolve()
    ]
    return f"found other releases than asked for: {', '.join(wrong)}" if wrong else ""


def _plain(release: str) -> str:
    """Without the zeros at its end: 12 and 12.0.0 are one release."""
    return re.sub(r"(\.0)+$", "", release)


if __name__ == "__main__":
    root = Path(__file__).resolve().parents[1]
    found = run_lower_bounds(root, root / ".venv" / ("Scripts" if os.name == "nt" else "bin") / "python", print)
    print(", ".join(f"{number} {what}" for what, number in found.items()))
    sys.exit(1 if found.get("failed") or not found.get("passed") else 0)
