# SPDX-License-Identifier: Apache-2.0
"""What a format does to places: whether it names the local origin, and how far it moves splats."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from sparse3d.formats.format import Format, WriteOptions
from sparse3d.splats import Splats

# Moved by less than this part of the median splat's size, nobody sees it.
_UNSEEN = 0.1


def place_notes(chosen: Format, splats: Splats, opts: WriteOptions) -> tuple[str, ...]:
    """Sentences on places that a file of `splats` in this format does not keep."""
    if splats.num_splats == 0:
        return ()
    return (*_origin_note(chosen, splats), *_moved_note(chosen, splats, opts))


def _origin_note(chosen: Format, splats: Splats) -> tuple[str, ...]:
    if chosen.limits.keeps_origin or not any(splats.origin):
        return ()
    place = ", ".join(f"{v:.15g}" for v in splats.origin)
    return (
        f"{chosen.name} has no place for the local origin ({place}) that positions are counted from: add it to them "
        "in the program that reads the file",
    )


def _moved_note(chosen: Format, splats: Splats, opts: WriteOptions) -> tuple[str, ...]:
    sizes = splats.scales.amax(dim=1).double().nan_to_num(0.0, 0.0, 0.0)
    size = float(sizes.median())
    if not size > 0.0:
        return ()
    moves = _moves(chosen, splats, opts) if chosen.limits.rounds_means else torch.zeros_like(sizes)
    # A large splat may move as far as a tenth of its own size.
    seen = int((moves > _UNSEEN * sizes.clamp(min=size)).sum())
    if seen:
        most = float(moves.max())
        return (
            f"{chosen.name} moves {seen:,} of {len(moves):,} splats by more than a tenth of their size (or of the "
            f"median splat's): by up to {most:.3g} units, {_times(most / size)}",
        )
    # What was read far from the origin lies in steps already, whatever is written.
    step = float(np.spacing(splats.means.abs().nan_to_num(0.0, 0.0, 0.0).amax(dim=1).median().numpy()))
    if step > _UNSEEN * size:
        return (
            f"positions this far from the origin are held as float32 in steps of {step:.3g} units, "
            f"{_times(step / size)}; move the scene near its origin in the program that it comes from",
        )
    return ()


def _times(share: float) -> str:
    return f"{share:.2g} times the size of the median splat"


def _moves(chosen: Format, splats: Splats, opts: WriteOptions) -> Tensor:
    """[N] how far each splat goes, in the order of `splats`. Harmonics are left out: they take the time."""
    quick = replace(opts, sh_degree=0, effort="default", page=None)
    plain = replace(splats, shN=splats.shN[:, :0].contiguous())
    order = chosen.file_order(plain)
    moves = torch.zeros(splats.num_splats, dtype=torch.float64)
    apart = chosen.quantised(plain, quick).means.double() - plain.means[order].double()
    moves[order] = apart.norm(dim=1).nan_to_num(0.0, 0.0, 0.0)
    return moves
