# SPDX-License-Identifier: Apache-2.0
"""SOG, PlayCanvas' Spatially Ordered Gaussians: lossless WebP images and a meta.json, in a zip (`scene.sog`) or in a
folder (`scene/meta.json`).

Version 2 is written; versions 1 and 2 are read. Axes are those of the PLY. Splats are reordered, for images compress
well where neighbours are alike. Lossy: positions 16 bits after a symmetric log, rotations 8 bits a component, scales,
colours and harmonics by codebooks of 256 values, harmonics of at most 65,536 different splats.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from torch import Tensor

from sparse3d.compress.axes import with_axes_near
from sparse3d.compress.order import morton_order
from sparse3d.errors import DataError
from sparse3d.formats.atomic import atomic_file
from sparse3d.formats.checks import damaged
from sparse3d.formats.format import Knob, Limits, WriteOptions, degree_note, kept_degree, knob_value, register
from sparse3d.formats.sog.data import SogData, permuted, splats_from_sog
from sparse3d.formats.sog.files import META, files_from_sog, splats_from_files
from sparse3d.formats.sog.losses import LOSSES
from sparse3d.formats.sog.notes import rounding_notes
from sparse3d.formats.sog.order import smallest
from sparse3d.formats.sog.quantise import MAX_PALETTE, SogSettings, check_splats, fitted_palette, sog_from_splats
from sparse3d.formats.sog.zip import SogZip, write_zip
from sparse3d.splats import Splats


@register
class Sog:
    """SOG v2: `.sog` bundles, and folders named by their meta.json. Effort "high" tries other orders of the pixels, the
    sorted grid among them, and keeps the smallest file; and palettes get twice the rounds."""

    name = "sog"
    suffixes: tuple[str, ...] = (".sog",)
    # A path that ends in this file name is a folder of several files.
    folder_index = META
    limits = Limits(lossy=True, max_sh_degree=3, activated=("opacities",), keeps_origin=True, rounds_means=True)
    knobs: tuple[Knob, ...] = (
        Knob("palette", 1, MAX_PALETTE, None, "entries of the palette of spherical harmonics; default: by the count"),
        Knob("codebook_iterations", 1, 100, 8, "rounds of k-means for that palette"),
        Knob("position_bits", 8, 16, 16, "bits of a position on each axis"),
        Knob("quat_bits", 4, 8, 8, "bits of each of the three stored quaternion components"),
        Knob("alpha_bits", 2, 8, 8, "bits of an opacity"),
        Knob("scale_entries", 2, 256, 256, "different values of the scales"),
        Knob("colour_entries", 2, 256, 256, "different values of the base colours"),
        Knob("sh_entries", 2, 256, 256, "different values in the palette of spherical harmonics"),
    )
    losses = LOSSES
    versions: tuple[int, ...] = (2,)

    def sniff(self, head: bytes) -> bool:
        return head.startswith(b"PK\x03\x04")

    def read(self, file: BinaryIO) -> Splats:
        total = file.seek(0, io.SEEK_END)
        return splats_from_files(SogZip(file).load, total)

    def write(self, file: BinaryIO, splats: Splats, opts: WriteOptions) -> tuple[str, ...]:
        parts, notes = self.parts_with_notes(splats, opts)
        write_zip(file, parts)
        return notes

    def quantised(self, splats: Splats, opts: WriteOptions) -> Splats:
        return splats_from_sog(self._made(splats, opts)[0])

    def file_order(self, splats: Splats) -> Tensor:
        return morton_order(splats.means)

    def parts(self, splats: Splats, opts: WriteOptions) -> dict[str, bytes]:
        """The files of a bundle or folder by name; for rate control: their lengths are the sizes of the parts."""
        return self.parts_with_notes(splats, opts)[0]

    def parts_with_notes(self, splats: Splats, opts: WriteOptions) -> tuple[dict[str, bytes], tuple[str, ...]]:
        """`parts`, and the notes of `write`."""
        data, files, notes = self._made(splats, opts)
        return files or files_from_sog(data), (*degree_note(self, splats, opts), *notes)

    def splats_of_parts(self, parts: Mapping[str, bytes]) -> Splats:
        """What a reader of these files gets. Raises DataError."""
        return splats_from_files(lambda name, limit: parts[name], sum(map(len, parts.values())))

    def write_parts(self, folder: Path, parts: Mapping[str, bytes]) -> None:
        """Each file atomically; the folder has no meta.json while the images are written."""
        write_files(folder, parts)

    def read_folder(self, folder: Path) -> Splats:
        """Splats of a folder with a meta.json. Raises DataError."""
        total = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
        return splats_from_files(lambda name, limit: _load(folder, name, limit), total)

    def write_folder(self, folder: Path, splats: Splats, opts: WriteOptions) -> tuple[str, ...]:
        """Write meta.json and its images into `folder`. meta.json comes last: with it the folder is whole."""
        parts, notes = self.parts_with_notes(splats, opts)
        self.write_parts(folder, parts)
        return notes

    def _made(self, splats: Splats, opts: WriteOptions) -> tuple[SogData, dict[str, bytes] | None, tuple[str, ...]]:
        """The quantised splats in the order of the file, the files where the search for the order made them, and notes
        on what was rounded most."""
        check_splats(splats)
        near = with_axes_near(splats)
        data = sog_from_splats(near, self.settings(splats, opts))
        notes = rounding_notes(near, data)
        if opts.effort == "high":
            return *smallest(splats, data), notes
        # A Z-order curve row by row: 2 % smaller images than the same curve laid along one through the image. Sorting
        # on a grid was measured at 0.1 % fewer bytes of a file of 138,766 splats, for twice the time.
        return permuted(data, self.file_order(splats).numpy()), None, notes

    def settings(self, splats: Splats, opts: WriteOptions) -> SogSettings:
        """The numbers that the options and their defaults mean for these splats."""

        def knob(name: str) -> int:
            return int(knob_value(self, opts, name) or 0)

        return SogSettings(
            degree=kept_degree(self, splats, opts),
            palette=knob("palette") or fitted_palette(splats.num_splats),
            iterations=knob("codebook_iterations") * (2 if opts.effort == "high" else 1),
            position_bits=knob("position_bits"),
            quat_bits=knob("quat_bits"),
            alpha_bits=knob("alpha_bits"),
            scale_entries=knob("scale_entries"),
            colour_entries=knob("colour_entries"),
            sh_entries=knob("sh_entries"),
        )


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files into a folder, each atomically; the folder has no meta.json while they are written."""
    (folder / META).unlink(missing_ok=True)
    for name in sorted(files, key=lambda name: name == META):
        with atomic_file(folder / name) as file:
            file.write(files[name])


def _load(folder: Path, name: str, limit: int) -> bytes:
    path = folder / name
    if path.is_symlink() or not path.is_file():
        raise DataError(f"there is no file {name!r} beside meta.json; copy the whole folder")
    with path.open("rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise damaged(f"{name} has more than {limit} bytes; expected at most that")
    return data
