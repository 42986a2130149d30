# SPDX-License-Identifier: Apache-2.0
"""The colours that an AVIF or HEIC photo says it has, where it has no ICC profile."""

from __future__ import annotations

from pathlib import Path

from sparse3d.photos.hdr import HLG, NAMES, PQ, needs_conversion

# The boxes with a photo's properties stand before its pixels.
_HEAD_BYTES = 262144


def foreign_colours(path: Path) -> tuple[int, int] | None:
    """(transfer, primaries), code points of H.273, of a photo that would look wrong if it were taken for sRGB; else
    None. A file with several pictures, one of them plain (that of a phone's HDR photo), counts as plain."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    found = []
    at = head.find(b"colrnclx")
    while at >= 0:
        # ISO/IEC 14496-12, 12.1.5: primaries, transfer, matrix, of 16 bits each.
        if len(head) >= at + 12:
            primaries, transfer = (int.from_bytes(head[k : k + 2], "big") for k in (at + 8, at + 10))
            found.append((transfer, primaries))
        at = head.find(b"colrnclx", at + 8)
    return found[0] if found and all(needs_conversion(*colours) for colours in found) else None


def colour_name(transfer: int, primaries: int) -> str:
    """As "HDR, HLG and BT.2020"."""
    kinds = [NAMES[code] for code in (transfer, primaries) if code in NAMES]
    return ("HDR, " if transfer in (PQ, HLG) else "") + " and ".join(kinds)
