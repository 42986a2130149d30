# SPDX-License-Identifier: Apache-2.0
"""Which photos train and which test: the rules of DESIGN.md ("What the numbers mean") and the published protocols'.
`bench quality` uses them too."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from sparse3d.errors import DataError, UsageError

# If neither the scene nor the user says otherwise, every 8th photo is held out of at least this many: of fewer, each is
# too precious.
HOLD_OUT_FROM = 13
HOLD_OUT_EVERY = 8
# DTU (RegNeRF's protocol): training views in the order in which they are added; views never used, as they are too dark.
DTU_TRAIN = (25, 22, 28, 40, 44, 48, 0, 8, 13)
DTU_EXCLUDED = frozenset((*range(3, 8), *range(16, 22), *range(36, 40)))
DTU_PHOTOS = 49
# Blender with few views (DietNeRF's choice): numbers of the training pictures r_<number>.
BLENDER_TRAIN = (2, 16, 26, 55, 73, 76, 86, 93)


@dataclass(frozen=True)
class Split:
    """Sorted, disjoint positions in the photos sorted by name; `train` is not empty. note: one for the user."""

    train: tuple[int, ...]
    test: tuple[int, ...]
    note: str


def split_views(
    names: Sequence[str],
    splits: Sequence[str | None],
    *,
    views: str = "all",
    test_every: int | None = None,
    protocol: str = "none",
    test: str | None = None,
) -> Split:
    """Which of the photos train and which test. names: sorted; splits: what the scene itself says of each ("train",
    "test", "unused" or None).

    test: the photos to hold out; the scene's own test photos then neither train nor test. An explicit test_every wins
    over a protocol, a protocol over the scene's own split, that over the default. Raises UsageError for an impossible
    choice, DataError for a scene that the protocol does not fit.
    """
    if not names:
        raise DataError("the scene has no photos")
    chosen = parse_views(views, names)
    if test is not None:
        held = parse_positions(test, names, "--test")
        why = "--test"
        rest = _without((i for i, split in enumerate(splits) if split not in ("test", "unused")), held)
        return _finish(names, _choose(names, rest, held, chosen, why), held, why)
    if test_every is not None:
        held = tuple(i for i in range(len(names)) if test_every > 0 and i % test_every == 0)
        why = f"--test-every {test_every}"
        rest = _without(range(len(names)), held)
    elif protocol == "dtu":
        return _dtu(names, chosen)
    elif protocol == "blender":
        return _blender(names, splits, chosen)
    elif protocol in ("llff", "every8"):
        held = tuple(range(0, len(names), HOLD_OUT_EVERY))
        why = f"protocol {protocol}, every {HOLD_OUT_EVERY}th photo"
        rest = _without(range(len(names)), held)
    elif protocol != "none":
        raise UsageError(f"unknown protocol {protocol!r} (known: none, llff, dtu, blender, every8)")
    elif "test" in splits:
        held = tuple(i for i, split in enumerate(splits) if split == "test")
        why = "the scene's own split"
        rest = tuple(i for i, split in enumerate(splits) if split in ("train", None))
    elif len(names) >= HOLD_OUT_FROM:
        held = tuple(range(0, len(names), HOLD_OUT_EVERY))
        why = f"every {HOLD_OUT_EVERY}th of {len(names)} photos"
        rest = tuple(i for i in _without(range(len(names)), held) if splits[i] != "unused")
    else:
        held, why = (), ""
        rest = tuple(i for i in range(len(names)) if splits[i] != "unused")
    return _finish(names, _choose(names, rest, held, chosen, why), held, why)


def parse_views(views: str, names: Sequence[str]) -> int | tuple[int, ...] | None:
    """ "all" -> None, "4" -> 4, "22,25,28" or "name:IMG_01.jpg" -> positions in `names`.

    Raises UsageError for anything else, for positions outside of the scene, unknown names and repeated views.
    """
    text = views.strip()
    if text == "all":
        return None
    if re.fullmatch(r"\d+", text):
        if int(text) == 0:
            raise UsageError("--views 0: there would be no training photo; give at least 1")
        return int(text)
    return parse_positions(views, names, "--views")


def parse_positions(text: str, names: Sequence[str], option: str) -> tuple[int, ...]:
    """ "22,25,28" or "name:IMG_01.jpg", or a mixture -> sorted positions in `names`. Raises UsageError that begins with
    `option` for anything else."""
    also, effect = (
        ("all, a number, ", "there would be no training photo") if option == "--views" else ("", "it names no photo")
    )
    positions = []
    for part in (p.strip() for p in text.split(",")):
        if not part:
            continue
        if part.startswith("name:"):
            positions.append(_find_name(part[5:], names, option))
        elif re.fullmatch(r"\d+", part):
            if int(part) >= len(names):
                raise UsageError(
                    f"{option} {text}: position {part} is out of range; the scene has {len(names)} photos, "
                    f"positions 0 to {len(names) - 1}"
                )
            positions.append(int(part))
        else:
            raise UsageError(
                f"{option} {text}: {part!r} is not understood; give {also}positions (22,25,28) or names "
                "(name:IMG_01.jpg)"
            )
    if not positions:
        raise UsageError(f"{option} {text!r}: {effect}; give {also}positions or names")
    if len(set(positions)) != len(positions):
        twice = next(p for p in positions if positions.count(p) > 1)
        raise UsageError(f"{option} {text}: photo {twice} ({names[twice]}) is named twice")
    return tuple(sorted(positions))


def spread(candidates: Sequence[int], count: int) -> tuple[int, ...]:
    """`count` of the candidates, evenly spread (rounded linspace over their positions, RegNeRF); all if fewer."""
    if count >= len(candidates):
        return tuple(candidates)
    return tuple(candidates[int(k)] for k in np.rint(np.linspace(0, len(candidates) - 1, count)))


def _choose(
    names: Sequence[str], rest: Sequence[int], test: Sequence[int], chosen: int | tuple[int, ...] | None, why: str
) -> tuple[int, ...]:
    if chosen is None:
        return tuple(rest)
    if isinstance(chosen, int):
        return spread(rest, chosen)
    both = sorted(set(chosen) & set(test))
    if both:
        raise UsageError(
            f"photo {both[0]} ({names[both[0]]}) is in --views and also held out for testing ({why}); choose other "
            + ("views or other test photos" if why == "--test" else "views or set --test-every (0 holds out none)")
        )
    return chosen


def _finish(names: Sequence[str], train: Sequence[int], test: Sequence[int], why: str) -> Split:
    if not train:
        change = "--test" if why == "--test" else "--test-every"
        raise UsageError(f"no photo is left to train on: all {len(names)} are held out ({why}); change {change}")
    unused = len(names) - len(train) - len(test)
    note = f"{len(train)} of {len(names)} photos train"
    if test:
        note += f", {len(test)} are held out ({why})"
    else:
        note += ", nothing is held out, so there is no PSNR; to measure use --test-every 4 or eval --leave-one-out"
    if unused:
        note += f"; {unused} {'is' if unused == 1 else 'are'} not used"
    return Split(tuple(sorted(train)), tuple(sorted(test)), note)


def _dtu(names: Sequence[str], chosen: int | tuple[int, ...] | None) -> Split:
    if len(names) < DTU_PHOTOS:
        raise DataError(
            f"--protocol dtu needs the {DTU_PHOTOS} photos of a DTU scan, this scene has {len(names)}; "
            "use another protocol"
        )
    if len(names) > DTU_PHOTOS:
        # Some scans come with 64 views; the protocol is defined on the first 49.
        names = names[:DTU_PHOTOS]
    train = DTU_TRAIN if chosen is None else chosen
    if isinstance(train, int):
        if train > len(DTU_TRAIN):
            raise UsageError(f"--protocol dtu defines up to {len(DTU_TRAIN)} training views, asked for {train}")
        train = DTU_TRAIN[:train]
    outside = [i for i in train if i >= DTU_PHOTOS]
    if outside:
        raise UsageError(f"--protocol dtu: view {outside[0]} is not one of the first {DTU_PHOTOS}")
    test = tuple(i for i in range(DTU_PHOTOS) if i not in train and i not in DTU_EXCLUDED)
    return _finish(names, train, test, "protocol dtu, all but the training views and 3-7, 16-21, 36-39")


def _blender(names: Sequence[str], splits: Sequence[str | None], chosen: int | tuple[int, ...] | None) -> Split:
    test = [i for i, split in enumerate(splits) if split == "test"]
    if not test:
        raise DataError("--protocol blender needs a scene with its own test photos (transforms_test.json)")
    test.sort(key=lambda i: _number(names[i]))
    why = f"protocol blender, all {len(test)} test pictures"
    if len(test) == 200:
        # NeRF papers measure on every 8th of the 200 test pictures.
        test, why = test[::8], "protocol blender, every 8th of 200 test pictures"
    rest = [i for i, split in enumerate(splits) if split in ("train", None)]
    # By number: sorted as text, r_12 stands between r_1 and r_2, and evenly spread ones would be others.
    rest.sort(key=lambda i: _number(names[i]))
    if isinstance(chosen, int) and chosen <= len(BLENDER_TRAIN):
        by_number = {_number(names[i]): i for i in rest}
        if all(k in by_number for k in BLENDER_TRAIN[:chosen]):
            chosen = tuple(by_number[k] for k in BLENDER_TRAIN[:chosen])
        else:
            why += "; the protocol's training pictures are not all here, so evenly spread ones were taken: adapted"
    return _finish(names, _choose(names, rest, test, chosen, why), test, why)


def _number(name: str) -> int:
    digits = re.findall(r"\d+", PurePosixPath(name).stem)
    return int(digits[-1]) if digits else -1


def _find_name(wanted: str, names: Sequence[str], option: str) -> int:
    for key in (lambda n: n, lambda n: PurePosixPath(n).name, lambda n: PurePosixPath(n).stem):
        found = [i for i, name in enumerate(names) if key(name) == wanted]
        if len(found) == 1:
            return found[0]
        if len(found) > 1:
            raise UsageError(
                f"{option} name:{wanted} fits {len(found)} photos ({names[found[0]]}, {names[found[1]]}, ...)"
            )
    near = difflib.get_close_matches(wanted, [*names, *(PurePosixPath(n).name for n in names)], n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]}?" if near else f"; the first is {names[0]}"
    raise UsageError(f"{option} name:{wanted}: the scene has no photo of this name{hint}")


def _without(candidates: Iterable[int], excluded: Sequence[int]) -> tuple[int, ...]:
    out = set(excluded)
    return tuple(i for i in candidates if i not in out)
