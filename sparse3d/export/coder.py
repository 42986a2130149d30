# SPDX-License-Identifier: Apache-2.0
"""Splats to the bytes of one format, in memory: what a search asks for sizes, and what it writes in the end."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from sparse3d.compress.axes import with_axes_near
from sparse3d.formats import Format, atomic_file, check_options, format_for_suffix
from sparse3d.formats.folder import FolderFormat, folder_formats
from sparse3d.formats.format import WriteOptions, kept_degree
from sparse3d.formats.html.options import PageOptions
from sparse3d.formats.page import as_page_format
from sparse3d.formats.place import place_notes
from sparse3d.records.frame import Frame
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
    """Writes for one output path. The size of a page is that of the scene in it, of a folder that of all its files.

    page: what a page shows around the scene; other formats have no use for it. frame, origin: of the splats that it is
    given, and of the world that is written; what it gives back is in the frame again. Raises UsageError for a suffix of
    no format, of one that is only read, and for options it does not know.
    """

    def __init__(self, out: Path, opts: WriteOptions, page: PageOptions | None = None) -> None:
        self.out, self.page = out, page
        self.frame, self.origin = Frame(), Frame().origin
        folders = [fmt for fmt in folder_formats() if fmt.folder_index == out.name]
        self.folder: FolderFormat | None = folders[0] if folders else None
        self.format: Format = self.folder or format_for_suffix(out)
        check_options(self.format, opts)
        self.opts = opts
        self._page_format = as_page_format(self.format)

    @property
    def writes_page(self) -> bool:
        """Whether a page is written around the scene."""
        return self._page_format is not None

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
        splats = self.outside(splats)
        if self.folder is not None:
            return sum(map(len, self.folder.parts(splats, opts).values()))
        scene = io.BytesIO()
        write = self.format.write if self._page_format is None else self._page_format.write_scene
        write(scene, splats, opts)
        return len(scene.getvalue())

    def quantised(self, splats: Splats, opts: WriteOptions) -> Splats:
        """What a reader of the file gets."""
        return self.inside(self.format.quantised(self.outside(splats), opts))

    def outside(self, splats: Splats) -> Splats:
        """As they are written."""
        return self.frame.splats_out(splats, self.origin)

    def inside(self, splats: Splats) -> Splats:
        """As they were given, from what was written."""
        return self.frame.splats_in(replace(splats, origin=self.origin))

    def quantiser(self, opts: WriteOptions) -> Quantiser:
        """The same in the order of its input."""
        quick = replace(opts, effort="default")

        def quantise(splats: Splats) -> Splats:
            written = self.outside(splats)
            order = self.format.file_order(written)
            back = torch.empty_like(order)
            back[order] = torch.arange(len(order))
            made = self.inside(self.format.quantised(written, quick)).select(back)
            # Formats may name an ellipsoid's axes anew.
            return with_axes_near(made, torch.nn.functional.normalize(splats.quats_wxyz, dim=1))

        return quantise

    def encode(self, splats: Splats, opts: WriteOptions) -> Encoded:
        """The whole file or folder, in memory."""
        splats = self.outside(splats)
        if self.folder is not None:
            files, notes = self.folder.parts_with_notes(splats, opts)
            size = sum(map(len, files.values()))
            return Encoded(files, size, size, (*notes, *place_notes(self.format, splats, opts)))
        plain = io.BytesIO()
        notes = self.format.write(plain, splats, replace(opts, page=self.page))
        notes += place_notes(self.format, splats, opts)
        data = plain.getvalue()
        scene = data if self._page_format is None else self._page_format.scene_bytes(data)
        return Encoded({"": data}, len(scene), len(data), notes)

    def decoded(self, made: Encoded) -> Splats:
        """What a reader gets of these bytes."""
        if self.folder is None:
            return self.inside(self.format.read(io.BytesIO(made.files[""])))
        return self.inside(self.folder.splats_of_parts(made.files))

    def write(self, made: Encoded) -> None:
        """Atomically to the output path. Raises as `formats.write`."""
        if self.folder is not None:
            self.folder.write_parts(self.out.parent, made.files)
            return
        with atomic_file(self.out) as file:
            file.write(made.files[""])
