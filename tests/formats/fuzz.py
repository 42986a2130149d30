# SPDX-License-Identifier: Apache-2.0
"""Damaged files for every registered format: reading must give splats or a DataError, nothing else.

    python -m tests.formats.fuzz [ROUNDS [SEED]]     ROUNDS mutations of each golden file (default 200)

Mutations are a function of the seed, the file's name and the round: what fails once fails again.
"""

from __future__ import annotations

import gzip
import random
import struct
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from sparse3d import formats
from sparse3d.errors import DataError
from sparse3d.formats import FORMATS
from tests.formats.makers import make_splats

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "formats"
# Integers and floats that break what does not check: extremes, signs, NaN, infinity.
_WORDS = [struct.pack("<I", v) for v in (0, 1, 2**31 - 1, 2**31, 2**32 - 1, 65535)]
_WORDS += [struct.pack("<f", v) for v in (float("nan"), float("inf"), -1e30, 3e38)]
_WORDS += [struct.pack("<Q", 2**63), b"9999999", b"\n"]


def golden_files() -> list[Path]:
    """The files of other programs in tests/golden/formats whose format is registered."""
    suffixes = tuple(suffix for fmt in FORMATS for suffix in fmt.suffixes)
    return sorted(path for path in GOLDEN.iterdir() if path.name.endswith(suffixes))


def page_file(folder: Path) -> Path:
    """A page of ours, which no other program writes."""
    path = folder / "page.html"
    formats.write(path, make_splats(40, 1))
    return path


def _cut(data: bytes, r: random.Random) -> bytes:
    return data[: r.randrange(len(data))]


def _extend(data: bytes, r: random.Random) -> bytes:
    return data + r.randbytes(r.randint(1, 64))


def _flip(data: bytes, r: random.Random) -> bytes:
    out = bytearray(data)
    for _ in range(r.choice((1, 1, 2, 8))):
        out[r.randrange(len(out))] ^= 1 << r.randrange(8)
    return bytes(out)


def _word(data: bytes, r: random.Random) -> bytes:
    # Half of the words go into the first bytes, where the counts are.
    at, word = r.randrange(min(len(data), 64) if r.random() < 0.5 else len(data)), r.choice(_WORDS)
    return data[:at] + word + data[at + len(word) :]


def _drop(data: bytes, r: random.Random) -> bytes:
    at = r.randrange(len(data))
    return data[:at] + data[at + r.randint(1, 40) :]


def _repeat(data: bytes, r: random.Random) -> bytes:
    at, length = r.randrange(len(data)), r.randint(1, 200)
    return data[: at + length] + data[at:]


_MUTATIONS: tuple[Callable[[bytes, random.Random], bytes], ...] = (_cut, _extend, _flip, _word, _drop, _repeat)


def mutated(data: bytes, seed: str) -> bytes:
    """`data` with one to three kinds of damage. Half of the damage to gzip data is done to what is inside."""
    r = random.Random(seed)
    inside = data.startswith(b"\x1f\x8b") and r.random() < 0.5
    out = gzip.decompress(data) if inside else data
    for _ in range(r.choice((1, 1, 1, 2, 3))):
        out = r.choice(_MUTATIONS)(out, r) if out else out
    return gzip.compress(out, 1, mtime=0) if inside else out


def check(path: Path, rounds: int, seed: int, folder: Path) -> dict[str, int]:
    """How many damaged copies of `path` were read and how many refused. Any other exception gets the seed as a note."""
    data, counts = path.read_bytes(), {"read": 0, "refused": 0}
    target = folder / path.name
    for i in range(rounds):
        name = f"{seed}/{path.name}/{i}"
        target.write_bytes(mutated(data, name))
        try:
            splats = formats.read(target)
        except DataError as error:
            if str(target) not in str(error):
                raise AssertionError(f"{name}: the error does not name the file: {error}") from error
            counts["refused"] += 1
        except BaseException as error:
            print(f"mutation {name} of {path} raised {error!r}", file=sys.stderr)  # noqa: T201
            raise
        else:
            assert splats.num_splats > 0, f"{name}: an empty scene"
            assert splats.means.isfinite().all(), f"{name}: positions that are not finite"
            counts["read"] += 1
    return counts


def main(words: list[str]) -> int:
    rounds, seed = (int(word) for word in (*words, *("200", "0")[len(words) :]))
    with tempfile.TemporaryDirectory() as made, tempfile.TemporaryDirectory() as folder:
        for path in (*golden_files(), page_file(Path(made))):
            counts = check(path, rounds, seed, Path(folder))
            print(f"{path.name}: {counts['read']} read, {counts['refused']} refused", flush=True)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
