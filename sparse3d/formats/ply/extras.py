# SPDX-License-Identifier: Apache-2.0
"""Properties of a splat PLY that say something which splats do not have: named, and passed over."""

from __future__ import annotations

import re

from sparse3d.formats.ply.names import FILTER

_SPLAT = re.compile(r"x|y|z|opacity|f_dc_[0-2]|f_rest_\d+|scale_[0-2]|rot_[0-3]")
# Normals that 3DGS writes as zeros, and colours beside f_dc, which hold the same.
_HARMLESS = frozenset(["nx", "ny", "nz", "red", "green", "blue", "alpha", FILTER])
# Spacetime Gaussians (Li et al. 2024) and 4DGS (Yang et al. 2024): centre and width in time, motion.
_MOVING = re.compile(r"trbf_(center|scale)|motion_\d+|omega_\d+|t|(scale|scaling)_t")
_MOST_NAMED = 8


def is_anchors(names: tuple[str, ...]) -> bool:
    """Whether the vertices are Scaffold-GS' anchors (Lu et al. 2024), which a network makes splats of."""
    return any(name.startswith("f_anchor_feat_") for name in names)


def extras_note(names: tuple[str, ...]) -> tuple[str, ...]:
    """A sentence that names the properties that are read by nothing; numbered ones (semantic_0, semantic_1) as one."""
    extra = [name for name in names if name not in _HARMLESS and not _SPLAT.fullmatch(name)]
    if not extra:
        return ()
    counts: dict[str, int] = {}
    for name in extra:
        stem = re.sub(r"_\d+$", "_*", name)[:60]
        counts[stem] = counts.get(stem, 0) + 1
    said = [f"{stem} ({count})" if count > 1 else stem for stem, count in counts.items()]
    named = ", ".join(said[:_MOST_NAMED]) + (f" and {len(said) - _MOST_NAMED} more" if len(said) > _MOST_NAMED else "")
    moving = "; the splats move in time, and stay where the file places them" if _moves(extra) else ""
    return (f"properties of the PLY that splats do not have were passed over: {named}{moving}",)


def _moves(names: list[str]) -> bool:
    return any(_MOVING.fullmatch(name) for name in names)
