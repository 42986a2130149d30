# SPDX-License-Identifier: Apache-2.0
"""Photos of which the mask leaves nothing: nothing is learned from them and nothing measured on them."""

from __future__ import annotations

from collections.abc import Sequence

from sparse3d.records.scene import Scene

# Names that a sentence lists before it counts the rest.
_NAMED = 3


def masked_notes(scene: Scene) -> tuple[str, ...]:
    """Sentences that name the training photos and the held-out ones of which the mask leaves nothing."""
    notes = []
    for indices, kind, effect in (
        (scene.train, "training photos", "not learned from"),
        (scene.test, "held-out photos", "not counted in any score"),
    ):
        names = [scene.names[i] for i in indices if scene.images.keeps_nothing(i)]
        if names:
            notes.append(f"the mask leaves nothing of {len(names)} of {len(indices)} {kind}, {_list(names)}: {effect}")
    return tuple(notes)


def _list(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
