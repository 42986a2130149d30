# SPDX-License-Identifier: Apache-2.0
"""Whether two revisions compute the same bits: the same short jobs in both trees, and a hash of all that they write.

`scripts/do same-bits REV` calls it. The jobs go through the command line, which outlives what a refactoring moves.
Hashed are values, not file layout: each tensor of a safetensors file by itself, JSON without seconds, memory, versions.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

# Every training term that stays in the product, a refinement (step 10), removals of floaters (30, 60) and of what lies
# outside the hull (20, 40, 60).
_TERMS = (
    "--terms.dropout 0.3 --terms.opacity-decay 3 --terms.depth 0.1 --terms.depth-pearson 0.05 --terms.normal 0.05 "
    "--terms.outside 0.1"
)
_SHORT = "--steps 60 --checkpoint-every 40 --report-every 10 --seed 3"
# Name of each job, and its words for `sparse3d`; {scene} and {photos} are the sample scene and its photos alone, {out}
# the folder of all jobs.
JOBS: dict[str, str] = {
    "few": "train {scene} --views 4 --prior-masks {scene}/objects --out {out}/few --density.growth 0.2 "
    f"--exposure.enabled --camera-opt.enabled on --floaters.at 0.5 1.0 {_TERMS} {_SHORT}",
    "many": f"train {{scene}} --out {{out}}/many --preset fast --eval-every 30 {_SHORT}",
    "mcmc": "train {scene} --views 13 --few-views off --prior-masks {scene}/objects --out {out}/mcmc --antialias "
    f"--train-background random --density.policy mcmc {_SHORT}",
    "photos": f"train {{photos}} --test-every 3 --out {{out}}/photos --overwrite {_SHORT}",
    "eval": "eval {out}/few --json",
    "eval-photos": "eval {out}/photos --json",
    "clean": "clean {out}/few {out}/clean.ply --json --floaters.max-share 1",
    "clean-file": "clean {out}/few/splat.ply {out}/clean_file.ply --json",
    "spz": "export {out}/mcmc {out}/a.spz --max-size 120kB --refine-steps 20 --json",
    "sog": "export {out}/many {out}/a.sog --max-size 60kB --refine-steps 20 --json",
    "glb": "export {out}/mcmc {out}/a.glb --max-size 300kB --refine-steps 10 --json",
    "cply": "export {out}/mcmc {out}/a.compressed.ply --max-size 90kB --refine-steps 10 --json",
    "splat": "export {out}/mcmc {out}/a.splat --max-size 90kB --refine-steps 10 --json",
    "page": "export {out}/mcmc {out}/a.html --max-splats 2000 --refine-steps 10 --json",
    "drop": "export {out}/mcmc {out}/drop.spz --max-drop 3 --refine-steps 5 --json",
    "compress": "compress {out}/few/splat.ply {out}/compressed.spz --max-size 60kB --json",
    "convert": "convert {out}/few {out}/converted.spz --quality high --json",
}
# Of JSON: what a clock, the machine or the version decides.
_VOLATILE = {"seconds", "seconds_eval", "peak_rss_mb", "version", "out", "in", "run", "source"}
Say = Callable[[str], None]


def compare_with(revision: str, repo: Path, program: Path, say: Say) -> list[str] | None:
    """`compare` with another revision, built in a worktree below build/ that is kept for the next call; None where it
    is none or does not build. program: the present tree's `sparse3d`."""
    asked = ["git", "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}"]
    commit = subprocess.run(asked, cwd=repo, capture_output=True, text=True, check=False).stdout.strip()
    if not commit:
        return None
    work = repo / "build" / "same-bits" / commit[:12]
    tree, venv = work / "tree", work / "venv"
    if not tree.is_dir():
        subprocess.run(["git", "worktree", "add", "--detach", "--force", tree, commit], cwd=repo, check=True)
    build = [sys.executable, tree / "scripts" / "do", "setup"]
    if subprocess.run(build, cwd=tree, env={**os.environ, "SPARSE3D_VENV": str(venv)}, check=False).returncode:
        return None
    inside = program.relative_to(program.parents[1])
    return compare(tree, venv / inside, repo, program, work, say)


def compare(old: Path, old_program: Path, new: Path, new_program: Path, work: Path, say: Say) -> list[str]:
    """Run all jobs of both trees and print a line for each hash; the names of those that differ.

    old, new: roots of the trees, whose own sample scene is used; old_program, new_program: their `sparse3d`. The hashes
    of the old tree are kept in `work` and used again while the jobs are the same.
    """
    kept = (
        work
        / f"old-{hashlib.sha256(json.dumps([JOBS, os.environ.get('S3D_SIMD', '')]).encode()).hexdigest()[:12]}.json"
    )
    if kept.is_file() and (work / "old" / "photos" / "sfm").is_dir():
        before = json.loads(kept.read_text(encoding="utf-8"))
        say(f"the hashes of the old tree are in {kept}")
    else:
        before = hashes_of(old, old_program, work / "old", say)
        kept.write_text(json.dumps(before, indent=1), encoding="utf-8")
    # Structure from motion does not repeat to the bit: both trees train on the cameras that the old one found.
    after = hashes_of(new, new_program, work / "new", say, cameras=work / "old" / "photos" / "sfm")
    differing = []
    for name in [*before, *(name for name in after if name not in before)]:
        left, right = before.get(name, "-"), after.get(name, "-")
        if left != right:
            differing.append(name)
        say(f"{'same  ' if left == right else 'DIFFER'}  {left:<16}  {right if left != right else '':<16}  {name}")
    return differing


def hashes_of(tree: Path, program: Path, out: Path, say: Say, *, cameras: Path | None = None) -> dict[str, str]:
    """Hash by name of all that the jobs write and print. cameras: kept result of structure from motion for the photos
    without cameras. Raises CalledProcessError where a job fails."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    scene, photos = tree / "scenes" / "sample", out / "just_photos"
    photos.mkdir()
    for name in sorted(path.name for path in (scene / "images").iterdir())[:6]:
        shutil.copy(scene / "images" / name, photos / name)
        # What is kept of structure from motion is found again by the files' times.
        os.utime(photos / name, (1e9, 1e9))
    if cameras is not None:
        shutil.copytree(cameras, out / "photos" / "sfm")
    found: dict[str, str] = {}
    for name, words in JOBS.items():
        began = time.monotonic()
        places = {"scene": scene, "photos": photos, "out": out}
        command = [str(program), *(word.format(**places) for word in shlex.split(words))]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            say(f"`{shlex.join(command)}` ended with {done.returncode}: {done.stderr[-2000:]}")
            done.check_returncode()
        if "--json" in command:
            found[f"{name}: printed"] = _json_hash(json.loads(done.stdout))
        say(f"{tree.name}: {name}, {time.monotonic() - began:.0f} s")
    for path in sorted(out.rglob("*")):
        for part, value in _parts(path):
            found[f"{path.relative_to(out).as_posix()}{part}"] = value
    return found


def _parts(path: Path) -> Iterator[tuple[str, str]]:
    """(part, hash) of a file: one, or one for each tensor; none for what differs from run to run."""
    if path.is_dir() or "sfm" in path.parts or path.name in ("checkpoint.json", "config.toml", "events.jsonl"):
        return
    if path.suffix == ".safetensors":
        yield from ((f" {name}", value) for name, value in _tensor_hashes(path))
    elif path.suffix == ".json":
        yield "", _json_hash(json.loads(path.read_text(encoding="utf-8")))
    else:
        yield "", _short(path.read_bytes())


def _tensor_hashes(path: Path) -> list[tuple[str, str]]:
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    out = []
    for name, entry in sorted(header.items()):
        # "key" says which files the points were made from, times included.
        if name not in ("__metadata__", "key"):
            first, last = entry["data_offsets"]
            shape = json.dumps([entry["dtype"], entry["shape"]]).encode()
            out.append((name, _short(shape + data[start + first : start + last])))
    return out


def _json_hash(value: object) -> str:
    def steady(item: object) -> object:
        if isinstance(item, dict):
            return {key: steady(inner) for key, inner in item.items() if key not in _VOLATILE}
        return [steady(inner) for inner in item] if isinstance(item, list) else item

    return _short(json.dumps(steady(value), sort_keys=True).encode())


def _short(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
