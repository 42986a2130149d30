# SPDX-License-Identifier: Apache-2.0
"""The header of a PLY file and its vertex table as a numpy structured array.

Reads ascii, binary little- and big-endian, every scalar type under both of its names, any order of properties, other
elements before (fixed size) and after (anything) the vertices. Nothing is allocated before the counts in the header
have been compared with the bytes that are there.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from sparse3d.errors import DataError
from sparse3d.formats.checks import damaged

# A header longer than this is not a header. 75 properties need about 2 kB; comments may be long.
_MAX_HEADER_BYTES = 1 << 20
_MAX_LINE_BYTES = 1 << 16

_SCALARS = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1",
    "short": "i2", "int16": "i2", "ushort": "u2", "uint16": "u2",
    "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4",
    "float": "f4", "float32": "f4", "double": "f8", "float64": "f8",
}  # fmt: skip
_ENCODINGS = {"ascii": "=", "binary_little_endian": "<", "binary_big_endian": ">"}


@dataclass(frozen=True)
class PlyElement:
    """One table of the file. properties: (name, numpy type without byte order), type None for a list."""

    name: str
    count: int
    properties: tuple[tuple[str, str | None], ...]

    @property
    def row_bytes(self) -> int | None:
        """Bytes of one row in a binary file, None where a list makes it vary."""
        sizes = [int(kind[1:]) if kind else None for _, kind in self.properties]
        return None if None in sizes else sum(size or 0 for size in sizes)


@dataclass(frozen=True)
class PlyHeader:
    """encoding: ascii, binary_little_endian or binary_big_endian. num_bytes: where the data begins."""

    encoding: str
    elements: tuple[PlyElement, ...]
    comments: tuple[str, ...]
    num_bytes: int

    def element(self, name: str) -> PlyElement | None:
        return next((element for element in self.elements if element.name == name), None)


def read_header(file: BinaryIO) -> PlyHeader:
    """Read up to and with the `end_header` line. Raises DataError that names the line."""
    if file.readline(16).rstrip(b"\r\n") != b"ply":
        raise damaged("not a PLY file: its first line is not 'ply'")
    encoding: str | None = None
    elements: list[PlyElement] = []
    comments: list[str] = []
    number = 1
    while True:
        raw = file.readline(_MAX_LINE_BYTES)
        number += 1
        if not raw.endswith(b"\n"):
            if file.tell() >= _MAX_LINE_BYTES and len(raw) == _MAX_LINE_BYTES:
                raise damaged(f"PLY header, line {number}: longer than {_MAX_LINE_BYTES} bytes")
            raise damaged(f"PLY header is cut off: the file ends after {file.tell()} bytes, before 'end_header'")
        if file.tell() > _MAX_HEADER_BYTES:
            raise damaged(f"PLY header has no 'end_header' within {_MAX_HEADER_BYTES} bytes")
        line = raw.decode("utf-8", errors="replace").strip()
        words = line.split()
        if not words or words[0] == "obj_info":
            continue
        if words[0] == "end_header":
            break
        if words[0] == "comment":
            comments.append(line[len("comment") :].strip())
        elif words[0] == "format":
            encoding = _parse_format(words, number, line)
        elif words[0] == "element":
            elements.append(_parse_element(words, number, line))
        elif words[0] == "property":
            if not elements:
                raise damaged(f"PLY header, line {number}: {line[:80]!r} stands before any element")
            elements[-1] = _with_property(elements[-1], words, number, line)
        else:
            raise damaged(f"PLY header, line {number}: unknown keyword in {line[:80]!r}")
    if encoding is None:
        raise damaged("PLY header has no 'format' line")
    return PlyHeader(encoding, tuple(elements), tuple(comments), file.tell())


def _parse_format(words: list[str], number: int, line: str) -> str:
    if len(words) != 3 or words[1] not in _ENCODINGS:
        raise damaged(f"PLY header, line {number}: {line[:80]!r}; expected one of {', '.join(_ENCODINGS)} and 1.0")
    if words[2] != "1.0":
        raise DataError(
            f"PLY header, line {number}: version {words[2]!r} is not known, only 1.0 is; export it as PLY 1.0"
        )
    return words[1]


def _parse_element(words: list[str], number: int, line: str) -> PlyElement:
    if len(words) != 3 or not words[2].isascii() or not words[2].isdigit() or len(words[2]) > 18:
        raise damaged(f"PLY header, line {number}: {line[:80]!r}; expected 'element NAME COUNT'")
    return PlyElement(words[1], int(words[2]), ())


def _with_property(element: PlyElement, words: list[str], number: int, line: str) -> PlyElement:
    kind: str | None
    if len(words) == 5 and words[1] == "list" and words[2] in _SCALARS and words[3] in _SCALARS:
        kind = None
    elif len(words) == 3 and words[1] in _SCALARS:
        kind = _SCALARS[words[1]]
    else:
        raise damaged(f"PLY header, line {number}: {line[:80]!r} is not a property that PLY 1.0 knows")
    name = words[-1]
    if any(name == other for other, _ in element.properties):
        raise damaged(f"PLY header, line {number}: element {element.name} has property {name!r} twice")
    return PlyElement(element.name, element.count, (*element.properties, (name, kind)))


def read_vertices(file: BinaryIO, header: PlyHeader) -> NDArray[np.void]:
    """The `vertex` table as a structured array in native byte order [count]; `file` stands at the end of the header.

    Raises DataError where vertices are missing from the header, hold lists, or the bytes are fewer than the counts
    say, or more (in a binary file that ends with the vertices).
    """
    vertex = header.element("vertex")
    if vertex is None:
        names = ", ".join(element.name for element in header.elements) or "none"
        raise DataError(f"PLY has no element 'vertex' (elements: {names}); give a PLY of splats or points")
    if vertex.row_bytes is None:
        raise DataError(
            "PLY element 'vertex' holds a list property, which neither splats nor points have; export splats or points"
        )
    if not vertex.properties:
        raise damaged("PLY element 'vertex' has no properties")
    before = header.elements[: header.elements.index(vertex)]
    remaining = _remaining_bytes(file)
    if header.encoding == "ascii":
        return _read_ascii(file, vertex, before, remaining)
    return _read_binary(file, header, vertex, before, remaining)


def read_tables(file: BinaryIO, header: PlyHeader) -> dict[str, NDArray[np.void]]:
    """Every element of a binary file as a structured array in native byte order; `file` stands at the header's end.

    Raises DataError for ascii, for lists, and where the bytes are not exactly those that the counts say.
    """
    if header.encoding == "ascii":
        raise DataError(
            "PLY: packed values are read from binary files only, this one is ascii; export it as binary PLY"
        )
    for element in header.elements:
        if element.row_bytes is None:
            raise damaged(f"PLY element {element.name!r} holds a list property, which packed splats do not have")
    needed = sum(element.count * (element.row_bytes or 0) for element in header.elements)
    remaining = _remaining_bytes(file)
    if remaining != needed:
        what = "is cut off" if remaining < needed else "has more bytes than its header says"
        counts = ", ".join(f"{e.count} of {e.name}" for e in header.elements)
        raise damaged(f"PLY {what}: {counts} need {needed} bytes after byte {header.num_bytes}, found {remaining}")
    out = {}
    for element in header.elements:
        order = _ENCODINGS[header.encoding]
        stored = np.dtype([(name, order + (kind or "")) for name, kind in element.properties])
        data = file.read(element.count * stored.itemsize)
        if len(data) != element.count * stored.itemsize:
            raise damaged(f"PLY is cut off: {element.name} has {len(data)} bytes")
        out[element.name] = np.frombuffer(data, dtype=stored).astype(stored.newbyteorder("="), copy=False)
    return out


def _read_binary(
    file: BinaryIO, header: PlyHeader, vertex: PlyElement, before: tuple[PlyElement, ...], remaining: int
) -> NDArray[np.void]:
    skipped = 0
    for element in before:
        if element.row_bytes is None:
            raise DataError(
                f"PLY element {element.name!r} with lists stands before the vertices, which is not read; export the "
                "vertices first"
            )
        skipped += element.count * element.row_bytes
    row_bytes = vertex.row_bytes or 0
    needed = skipped + vertex.count * row_bytes
    if remaining < needed:
        raise damaged(
            f"PLY is cut off: {vertex.count} vertices of {row_bytes} bytes need {needed} bytes after the header, "
            f"found {remaining}"
        )
    if remaining > needed and header.elements[-1] is vertex:
        raise damaged(
            f"PLY has {remaining - needed} bytes more than its header says: {vertex.count} vertices of {row_bytes} "
            f"bytes need {needed} bytes after the header, found {remaining}"
        )
    file.seek(skipped, io.SEEK_CUR)
    data = file.read(vertex.count * row_bytes)
    if len(data) != vertex.count * row_bytes:
        raise damaged(f"PLY is cut off: read {len(data)} bytes where {vertex.count * row_bytes} were expected")
    order = _ENCODINGS[header.encoding]
    stored = np.dtype([(name, order + (kind or "")) for name, kind in vertex.properties])
    return np.frombuffer(data, dtype=stored).astype(stored.newbyteorder("="), copy=False)


def _read_ascii(file: BinaryIO, vertex: PlyElement, before: tuple[PlyElement, ...], remaining: int) -> NDArray[np.void]:
    width = len(vertex.properties)
    # Every value takes at least one character and one separator (the last may lack it).
    least = 2 * vertex.count * width - 1
    if remaining < least:
        raise damaged(
            f"PLY is cut off: {vertex.count} vertices of {width} numbers need at least {least} bytes after the header, "
            f"found {remaining}"
        )
    lines = [line for line in file.read().split(b"\n") if line.strip()]
    first = sum(element.count for element in before)
    rows = lines[first : first + vertex.count]
    if len(rows) < vertex.count:
        raise damaged(f"PLY is cut off: the header says {vertex.count} vertices, found {len(rows)} lines for them")
    values = np.empty((vertex.count, width), dtype=np.float64)
    for i, row in enumerate(rows):
        words = row.split()
        if len(words) != width:
            raise damaged(f"PLY vertex {i}: {len(words)} numbers where the header says {width}")
        try:
            values[i] = [float(word) for word in words]
        except ValueError:
            raise damaged(f"PLY vertex {i}: {row[:60]!r} is not a row of numbers") from None
    out = np.empty(vertex.count, dtype=[(name, kind or "") for name, kind in vertex.properties])
    with np.errstate(over="ignore", invalid="ignore"):
        for column, (name, _) in enumerate(vertex.properties):
            out[name] = values[:, column]
    return out


def _remaining_bytes(file: BinaryIO) -> int:
    here = file.tell()
    end = file.seek(0, io.SEEK_END)
    file.seek(here)
    return end - here
