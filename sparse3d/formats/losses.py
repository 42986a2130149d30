# SPDX-License-Identifier: Apache-2.0
"""Where a format can save bytes besides on the number of splats: what a search for a file of some size may turn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from sparse3d.splats import Splats

Knobs = Mapping[str, float]


@dataclass(frozen=True)
class ShChoice:
    """A part of the harmonics to keep. share 0..1: of all coefficients above degree 0; the others become 0. knobs: to
    write them with, by name."""

    share: float
    knobs: Knobs = field(default_factory=dict)


@dataclass(frozen=True)
class Losses:
    """What a format offers to a search. The default offers nothing: then only a lower SH degree of all splats saves
    bytes. All knobs are the format's own.

    harmonics: of a scene's splats, the choices of what to keep of their harmonics, cheapest a splat first. For formats
    in which a coefficient of 0 costs next to nothing.
    coarser: of splats, sets of knobs that round places, rotations and colours more than usual, least damage first.
    whole: where bytes are left, knobs of these choices and sets are turned towards these values; others stay.
    finest: values of the knobs that round harmonics, at which they round least.
    palette: the knob that says how many different sets of harmonics a file has at most (None: each splat has its own).
    slow: quantising takes longer than a step of training.
    """

    harmonics: Callable[[Splats], Sequence[ShChoice]] = lambda splats: ()
    coarser: Callable[[Splats], Sequence[Knobs]] = lambda splats: ()
    whole: Knobs = field(default_factory=dict)
    finest: Knobs = field(default_factory=dict)
    palette: str | None = None
    slow: bool = False
