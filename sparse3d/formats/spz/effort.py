# SPDX-License-Identifier: Apache-2.0
"""The bytes of an SPZ file by effort: the order of the splats and the work of the entropy coder."""

from __future__ import annotations

import importlib
import importlib.util
import zlib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from sparse3d.formats.spz.bits import Packed
from sparse3d.formats.spz.container import deflated, write_container

# zlib's last level takes twice the time of this one for half a percent.
_DEFAULT_LEVEL = 8
_ZSTD_LEVELS = {"default": 12, "high": 22}


def coded(packed: Packed, effort: str) -> bytes:
    """The whole file. Raises nothing: without the zopfli package high effort ends with zlib's best level."""
    if packed.version == 4:
        return write_container(packed, zstd_level=_ZSTD_LEVELS[effort])
    if effort == "default":
        return write_container(packed, lambda plain: deflated(plain, _DEFAULT_LEVEL))
    return write_container(packed, best_deflate())


def best_deflate() -> Callable[[bytes], bytes]:
    """Raw deflate by zopfli's search over parses where it is installed, about 3 % fewer bytes; else by zlib."""
    if importlib.util.find_spec("zopfli") is None:
        return lambda plain: deflated(plain, 9)
    zopfli = importlib.import_module("zopfli.zlib")
    # A zlib stream is deflate with 2 bytes before and 4 bytes after it (RFC 1950).
    return lambda plain: zopfli.compress(plain, numiterations=1)[2:-4]


def best_order(packed: Packed) -> NDArray[np.int64]:
    """The better of the given order and that by how coarse the harmonics are, then as given.

    Splats whose harmonics are rounded alike have the same few bytes, so that each part of the file gets codes of its
    own; it costs where neighbours in the file stop being neighbours in space.
    """
    given = np.arange(len(packed.alphas), dtype=np.int64)
    if not packed.sh.shape[1]:
        return given
    # The lowest bit that any harmonic of a splat uses; 128, the zero, uses none.
    used = np.bitwise_or.reduce(packed.sh ^ 128, axis=1).astype(np.int16)
    by_class = np.argsort(-(used & -used), kind="stable")
    by_class = by_class[np.argsort(used[by_class] == 0, kind="stable")]
    sizes = [sum(len(zlib.compress(s[o].tobytes(), 6)) for s in packed.streams()) for o in (given, by_class)]
    return by_class if sizes[1] < sizes[0] else given
