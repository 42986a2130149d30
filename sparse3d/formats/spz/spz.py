# SPDX-License-Identifier: Apache-2.0
"""SPZ (Niantic): gzip or zstd over quantised streams, the most widely read compressed format of splats.

Versions 1 to 4 are read; 3 (gzip) is written by default, because more programs read it, and 4 (zstd) on request.
What the format can hold limits fidelity in this order: scales (steps of 1/16 of a logarithm), colours (steps of 1/38 of
sh0), rotations and opacities; harmonics end at -1 and 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sparse3d.compress.axes import with_axes_near
from sparse3d.compress.order import morton_order
from sparse3d.errors import DataError
from sparse3d.formats.checks import in_blocks, numpy_of, remaining_bytes
from sparse3d.formats.cuts import check_writable, cut_note, size_notes
from sparse3d.formats.format import (
    Knob,
    Limits,
    WriteOptions,
    degree_note,
    kept_degree,
    knob_number,
    knob_value,
    register,
)
from sparse3d.formats.spz import bits
from sparse3d.formats.spz.container import MAGIC, read_container
from sparse3d.formats.spz.effort import best_order, coded
from sparse3d.formats.spz.fitted import SH1_BITS, SH_REST_BITS, fitted_position_bits
from sparse3d.formats.spz.losses import LOSSES
from sparse3d.formats.spz.steps import log2_weights, sh_steps
from sparse3d.splats import Splats, num_sh_rest


@register
class Spz:
    """SPZ. Obeys every option: effort "high" tries another order, and codes with zopfli or zstd's last level.

    Fractional bits of positions are fitted to the scene; splats are sorted along a Z-order curve.
    """

    name = "spz"
    suffixes: tuple[str, ...] = (".spz",)
    limits = Limits(
        lossy=True, max_sh_degree=4, frame="right-up-back", activated=("logit_opacities",), keeps_antialias=True,
        rounds_means=True,
    )  # fmt: skip
    knobs: tuple[Knob, ...] = (
        Knob("position_bits", 0, 23, None, "fractional bits of a position; default: fitted to the scene"),
        Knob("sh1_bits", 1, 8, SH1_BITS, "bits of a harmonic of degree 1 of a splat of mean weight", integer=False),
        Knob("sh_rest_bits", 1, 8, SH_REST_BITS, "the same for degree 2 and more", integer=False),
        Knob("sh_rounding", 0, 1, 0.5, "how much coarser the harmonics of faint and small splats are", integer=False),
        Knob("rotation_bits", 3, 9, 9, "bits of each of the three stored quaternion components, beside its sign"),
        Knob("scale_bits", 5, 8, 8, "bits of a scale"),
        Knob("colour_bits", 4, 8, 8, "bits of a base colour's channel"),
        Knob("alpha_bits", 4, 8, 8, "bits of an opacity"),
    )
    losses = LOSSES
    versions: tuple[int, ...] = (3, 4)

    def sniff(self, head: bytes) -> bool:
        return head.startswith((MAGIC, b"\x1f\x8b"))

    def read(self, file: BinaryIO) -> Splats:
        return bits.unpack(read_container(file.read(remaining_bytes(file))))

    def write(self, file: BinaryIO, splats: Splats, opts: WriteOptions) -> tuple[str, ...]:
        made = _pack(self, splats, opts)
        file.write(coded(made.packed, opts.effort))
        return (*degree_note(self, splats, opts), *made.notes)

    def quantised(self, splats: Splats, opts: WriteOptions) -> Splats:
        """In the order of the file, which is not that of `splats`."""
        return bits.unpack(_pack(self, splats, opts).packed)

    def file_order(self, splats: Splats) -> Tensor:
        return morton_order(splats.means)


@dataclass(frozen=True)
class _Made:
    packed: bits.Packed
    notes: tuple[str, ...]


def _pack(chosen: Spz, splats: Splats, opts: WriteOptions) -> _Made:
    if splats.num_splats == 0:
        raise DataError("there are no splats to write; give a scene that has some")
    degree = kept_degree(chosen, splats, opts)
    given = numpy_of(with_axes_near(splats), degree)
    check_writable(given)
    order = morton_order(splats.means).numpy()
    arrays = {name: values[order] for name, values in given.items() if name != "shN"}
    asked = knob_value(chosen, opts, "position_bits")
    fractional = fitted_position_bits(arrays["means"], arrays["log_scales"]) if asked is None else int(asked)
    positions, outside = bits.fixed_positions(arrays["means"], fractional)
    steps = sh_steps(
        log2_weights(arrays["logit_opacities"], arrays["log_scales"]),
        (knob_number(chosen, opts, "sh1_bits"), knob_number(chosen, opts, "sh_rest_bits")),
        knob_number(chosen, opts, "sh_rounding"), num_sh_rest(degree),
    )  # fmt: skip
    keep = {name: int(knob_number(chosen, opts, f"{name}_bits")) for name in ("rotation", "scale", "colour", "alpha")}
    packed = bits.Packed(
        positions, bits.coarser(bits.alphas(arrays["logit_opacities"]), keep["alpha"]),
        bits.colour_bytes(arrays["sh0"], keep["colour"]), bits.scale_bytes(arrays["log_scales"], keep["scale"]),
        bits.rotation_bytes(arrays["quats_wxyz"], keep["rotation"]),
        _sh_bytes(given["shN"], order, degree, steps),
        version=opts.version or 3, sh_degree=degree, fractional_bits=fractional, antialias=splats.antialias,
    )  # fmt: skip
    if opts.effort == "high":
        packed = packed.permuted(best_order(packed))
    notes = []
    if outside:
        notes.append(f"{outside} splats lie outside of what 24 bits hold and were moved to its edge")
    return _Made(packed, (*notes, *_cuts(given, keep)))


def _cuts(given: Mapping[str, NDArray[np.float32]], keep: Mapping[str, int]) -> tuple[str, ...]:
    """Sentences on what lies beyond the ends of SPZ's bytes by more than one step."""
    scale_step, colour_step = (2 ** (8 - keep[name]) for name in ("scale", "colour"))
    sizes, colours, harmonics = bits.RANGES
    return (
        *size_notes(given["log_scales"], *sizes, step=scale_step / 16, flat_kept=False),
        *cut_note(given["sh0"], *colours, "base colours", step=colour_step / (255 * bits.COLOUR_SCALE)),
        *cut_note(given["shN"], *harmonics, "harmonics", step=1 / 128),
    )


def _sh_bytes(
    shN: NDArray[np.float32], order: NDArray[np.int64], degree: int, steps: NDArray[np.float32]
) -> NDArray[np.uint8]:
    """Bytes [N,3K] of harmonics [N,K,3] in `order`; steps [N,K] are in that order already."""
    out = np.empty((len(order), 3 * shN.shape[1]), dtype=np.uint8)
    for rows in in_blocks(len(order)):
        out[rows] = bits.sh_bytes(shN[order[rows]], degree, steps[rows])
    return out
