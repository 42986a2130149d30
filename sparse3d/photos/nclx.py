# SPDX-License-Identifier: Apache-2.0
"""The colours that a photo says it has by code points of H.273: AVIF and HEIC in a box, PNG in a chunk."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from sparse3d.photos.hdr import HLG, NAMES, PQ, needs_conversion

_PNG = b"\x89PNG\r\n\x1a\n"
# The boxes with a photo's properties stand before its pixels.
_HEAD_BYTES = 262144


class Colours(NamedTuple):
    """Code points of H.273; full_range: False where black is at 16/256 and white at 235/256 of all values."""

    transfer: int
    primaries: int
    full_range: bool = True

    @property
    def foreign(self) -> bool:
        """Whether a photo would look wrong if it were taken for sRGB."""
        return needs_conversion(self.transfer, self.primaries) or not self.full_range


def png_colours(path: Path) -> Colours | None:
    """What the chunk cICP of a PNG says (PNG, third edition, 11.3.2.6), which counts more than a profile; None without
    one. Colours of no RGB (a matrix other than 0), which the format forbids, count as none."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    at = len(_PNG)
    # The chunk stands before the pixels; each has its length, its name, its data and four bytes of checksum.
    while head.startswith(_PNG) and at + 12 <= len(head) and head[at + 4 : at + 8] not in (b"IDAT", b"IEND"):
        size = int.from_bytes(head[at : at + 4], "big")
        if head[at + 4 : at + 8] == b"cICP" and size == 4 and len(head) >= at + 12:
            primaries, transfer, matrix, full = head[at + 8 : at + 12]
            return Colours(transfer, primaries, full != 0) if matrix == 0 else None
        at += 12 + size
    return None


def foreign_colours(path: Path) -> Colours | None:
    """The colours of an AVIF or HEIC photo that would look wrong if it were taken for sRGB; else None. A file with
    several pictures, one of them plain (that of a phone's HDR photo), counts as plain."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    found = []
    at = head.find(b"colrnclx")
    while at >= 0:
        # ISO/IEC 14496-12, 12.1.5: primaries, transfer, matrix, of 16 bits each.
        if len(head) >= at + 12:
            primaries, transfer = (int.from_bytes(head[k : k + 2], "big") for k in (at + 8, at + 10))
            found.append(Colours(transfer, primaries))
        at = head.find(b"colrnclx", at + 8)
    return found[0] if found and all(colours.foreign for colours in found) else None


def colour_name(colours: Colours) -> str:
    """As "HDR, HLG and BT.2020"."""
    kinds = [NAMES[code] for code in colours[:2] if code in NAMES]
    kinds += [] if colours.full_range else ["narrow range"]
    return ("HDR, " if colours.transfer in (PQ, HLG) else "") + " and ".join(kinds)
