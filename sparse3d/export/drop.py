# SPDX-License-Identifier: Apache-2.0
"""The smallest file of a quality: sizes are tried, each fitted as if it had been asked for.

All that a file is made of is chosen by training photos or by the source's pictures (`export.fit`); the held-out photos
decide its size alone, by a few looks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from sparse3d.errors import UsageError
from sparse3d.export.coder import Coder
from sparse3d.export.fit import Fit, Fitted
from sparse3d.export.judge import expected_drop, held_out, to_source
from sparse3d.export.source import Source
from sparse3d.export.tell import Tell

# Tries beside the first; good enough where this share of the loss is used up.
_TRIES, _NEAR = 5, 0.8
# The loss in dB falls about so with the bytes, from file to file of one scene.
_POWER = 1.2
# The first try is so much smaller than the source's usual file.
_FIRST = 0.3


@dataclass(frozen=True)
class _Point:
    size: int
    drop: float
    made: Fitted


def fit_to_drop(
    source: Source, coder: Coder, fit: Fit, most: float, cap: int | None = None, tell: Tell | None = None
) -> Fitted:
    """The smallest file found that loses at most `most` dB, of at most `cap` bytes.

    Raises UsageError where even the finest file loses more, and where a file within `cap` does.
    """
    loss = Loss(source, coder)
    top = _point(loss, fit.plain() if cap is None else fit.to_size(cap))
    if top.drop > most:
        top = _point(loss, fit.finest_file()) if cap is None else top
    if top.drop > most:
        within = "" if cap is None else f" within {cap} bytes"
        raise UsageError(
            f"--max-drop {most:g}: the finest {coder.format.name} file{within} loses {top.drop:.2f} dB {loss.against}; "
            "allow more, or choose a format that rounds less"
        )
    best, worse = top, None
    size = round(_FIRST * top.size)
    for number in range(_TRIES):
        if tell is not None:
            tell(f"trying {size:,} bytes", number / _TRIES)
        try:
            tried = _point(loss, fit.to_size(size))
        except UsageError:
            break
        if tried.drop <= most:
            best = min(best, tried, key=lambda point: point.size)
            if tried.drop >= _NEAR * most:
                break
        elif worse is None or tried.size > worse.size:
            worse = tried
        size = _next(best, worse, most)
        if worse is not None and best.size < 1.06 * worse.size:
            break
    return best.made


class Loss:
    """dB that a candidate's file loses: on held-out photos, else what its pictures' distance to the source's means."""

    def __init__(self, source: Source, coder: Coder) -> None:
        self._source, self._coder = source, coder
        before = held_out(source, source.splats)
        self._before = None if before is None else before.psnr
        self.against = "on the held-out photos" if before is not None else "against the source's pictures"

    def __call__(self, made: Fitted) -> float:
        shown = self._coder.quantised(made.splats, made.opts)
        if self._before is None:
            return expected_drop(to_source(self._source, shown).psnr)
        after = held_out(self._source, shown)
        return self._before - (after.psnr if after is not None else 0.0)


def _point(loss: Loss, made: Fitted) -> _Point:
    return _Point(made.size, loss(made), made)


def _next(best: _Point, worse: _Point | None, most: float) -> int:
    """Bytes to try: where the loss is a little less than `most`, if it falls as a power of the size."""
    aim = 0.92 * most
    if worse is None:
        factor = (max(best.drop, 0.05 * most) / aim) ** (1 / _POWER)
        return max(1, round(best.size * min(max(factor, 0.25), 0.8)))
    low, high = math.log(worse.size), math.log(best.size)
    below = max(best.drop, 0.05 * most)
    share = math.log(worse.drop / aim) / math.log(worse.drop / below) if worse.drop > below else 0.5
    return max(1, round(math.exp(low + min(max(share, 0.15), 0.85) * (high - low))))
