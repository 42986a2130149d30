# SPDX-License-Identifier: Apache-2.0
"""Splats to the bytes of one format, in memory: what a search asks for sizes, and what it writes in the end."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from sparse3d.compress.axes import with_axes_near
from sparse3d.formats import FORMATS, Format, atomic_file, check_options, format_for_suffix
from sparse3d.formats.folder import FolderFormat, folder_formats
from sparse3d.formats.format import WriteOptions, kept_degree
from sparse3d.formats.html.html import scene_bytes
from sparse3d.formats.html.options import PageOptions
from sparse3d.formats.sog.files import splats_from_files
from sparse3d.formats.sog.sog import Sog, write_files
from sparse3d.splats import Splats
from sparse3d.train.splats.straight_through import Quantiser


@dataclass(frozen=True)
class Encoded:
    """A file, or the files of a folder by name. size: bytes of the scene in it; total: of all that is written. notes:
    what the format could not keep."""

    files: Mapping[str, bytes]
    size: int
    total: int
    notes: tuple[str, ...]


class Coder:
    """Writes for one output path. For HTML pages the size is that of the scene inside, for folders that of all files.

    Raises UsageError for a suffix of no format, of one that is only read, and for options it does not know.
    """

    def __init__(self, out: Path, opts: WriteOptions, page: PageOptions | None = None) -> None:
        self.out, self.page = out, page
        folders = [fmt for fmt in folder_formats() if fmt.folder_index == out.name]
        self.folder: FolderFormat | None = folders[0] if folders else None
        self.format: Format = self.folder or format_for_suffix(out)
        check_options(self.format, opts)
        self.opts = opts
        # What the splats are packed as; the page around them is of no interest to a search.
        self._packer = FORMATS["spz"] if self.format.name == "html" else self.format

    def options(self, knobs: Mapping[str, float], degree: int) -> WriteOptions:
        """The options given by hand, and these knobs where they were not given."""
        known = {knob.name for knob in self.format.knobs}
        chosen = {name: value for name, value in knobs.items() if name in known}
        return replace(self.opts, sh_degree=degree, knobs={**chosen, **self.opts.knobs})

    def degree(self, splats: Splats) -> int:
        """The highest degree of harmonics that a file of these splats has."""
        return kept_degree(self.format, splats, self.opts)

    def size(self, splats: Splats, opts: WriteOptions) -> int:
        """Bytes of the scene in the file."""
        if self.folder is not None:
            return sum(map(len, _parts(splats, opts).values()))
        return len(_written(self._packer, splats, self._packed(opts)))

    def quantised(self, splats: Splats, opts: WriteOptions) -> Splats:
        """What a reader of the file gets."""
        return self._packer.quantised(splats, self._packed(opts))

    def quantiser(self, opts: WriteOptions) -> Quantiser:
        """The same in the order of its input."""
        quick = replace(self._packed(opts), effort="default")

        def quantise(splats: Splats) -> Splats:
            order = self._packer.file_order(splats)
            back = torch.empty_like(order)
            back[order] = torch.arange(len(order))
            made = self._packer.quantised(splats, quick).select(back)
            # Formats may name an ellipsoid's axes anew.
            return with_axes_near(made, torch.nn.functional.normalize(splats.quats_wxyz, dim=1))

        return quantise

    def encode(self, splats: Splats, opts: WriteOptions) -> Encoded:
        """The whole file or folder, in memory."""
        if self.folder is not None:
            files = _parts(splats, opts)
            size = sum(map(len, files.values()))
            return Encoded(files, size, size, ())
        plain = io.BytesIO()
        notes = self.format.write(plain, splats, replace(opts, page=self.page))
        data = plain.getvalue()
        size = len(scene_bytes(data)) if self.format.name == "html" else len(data)
        return Encoded({"": data}, size, len(data), notes)

    def decoded(self, made: Encoded) -> Splats:
        """What a reader gets of these bytes."""
        if self.folder is None:
            return self.format.read(io.BytesIO(made.files[""]))
        return splats_from_files(lambda name, limit: made.files[name], made.total)

    def write(self, made: Encoded) -> None:
        """Atomically to the output path. Raises as `formats.write`."""
        if self.folder is not None:
            write_files(self.out.parent, dict(made.files))
            return
        with atomic_file(self.out) as file:
            file.write(made.files[""])

    def _packed(self, opts: WriteOptions) -> WriteOptions:
        return opts if self._packer is self.format else replace(opts, version=3, page=None)


def _parts(splats: Splats, opts: WriteOptions) -> dict[str, bytes]:
    return Sog().parts(splats, opts)


def _written(chosen: Format, splats: Splats, opts: WriteOptions) -> bytes:
    plain = io.BytesIO()
    chosen.write(plain, splats, opts)
    return plain.getvalue()
