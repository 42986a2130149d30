# SPDX-License-Identifier: Apache-2.0
"""Writes a scene card, scenes/NAME.toml, from files that are really here.

    python scripts/make_scene_card.py fox FOLDER --repository NVlabs/instant-ngp --commit SHA --path data/nerf/fox \\
        --what "..." --layout transforms --split "..." --licence "..." [--git CLONE] [--only '*.jpg' ...]

With --git, a clone of the repository, each file is first compared with what the commit holds at that path.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]


def blob_id(data: bytes) -> str:
    """git's own name for a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def committed_blobs(clone: Path, commit: str, path: str) -> dict[str, str]:
    """Path in the repository -> blob id, for everything below `path` at `commit`."""
    out = subprocess.run(
        ["git", "-C", str(clone), "ls-tree", "-r", commit, path], capture_output=True, text=True, check=True
    ).stdout
    return {line.split("\t", 1)[1]: line.split()[2] for line in out.splitlines()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("folder", type=Path)
    for key in ("repository", "commit", "path", "what", "layout", "split", "licence"):
        parser.add_argument(f"--{key}", required=True)
    parser.add_argument("--git", type=Path)
    parser.add_argument("--only", nargs="*", default=["*"])
    args = parser.parse_args()
    chosen = sorted({p for pattern in args.only for p in args.folder.rglob(pattern) if p.is_file()})
    blobs = committed_blobs(args.git, args.commit, args.path) if args.git else None
    entries = []
    for file in chosen:
        name, data = file.relative_to(args.folder).as_posix(), file.read_bytes()
        if blobs is not None and blobs.get(f"{args.path}/{name}") != blob_id(data):
            print(f"{name}: not what {args.repository} holds at {args.commit[:12]}; left out", file=sys.stderr)
            continue
        digest = hashlib.sha256(data).hexdigest()
        entries.append(f'[[files]]\npath = {json.dumps(name)}\nbytes = {len(data)}\nsha256 = "{digest}"\n')
    if not entries:
        print(f"{args.folder} has no file for the card", file=sys.stderr)
        return 1
    head = ["# SPDX-License-Identifier: Apache-2.0", f"name = {json.dumps(args.name)}"]
    for key in ("what", "layout", "split", "licence", "repository", "commit", "path"):
        head.append(f"{key} = {json.dumps(getattr(args, key), ensure_ascii=False)}")
    (REPO / "scenes" / f"{args.name}.toml").write_text("\n".join(head) + "\n\n" + "\n".join(entries), encoding="utf-8")
    print(f"scenes/{args.name}.toml: {len(entries)} files")
    return 0


if __name__ == "__main__":
    sys.exit(main())
