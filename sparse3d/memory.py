# SPDX-License-Identifier: Apache-2.0
"""How much memory this process and its child processes have taken at their peak."""

from __future__ import annotations

import sys
import threading

try:
    import resource
except ImportError:  # Windows
    resource = None

_lock = threading.Lock()
# The largest sum so far of a child's peak and ours beside it, in bytes.
_beside_children = 0


def peak_rss_mb() -> float | None:
    """Largest memory so far of this process together with the children that `child_ended` was told of, in MB (10^6
    bytes); None where the system does not say. While a child ran, our own peak until then counts, so that the value is
    never too low."""
    own = _peak_bytes("RUSAGE_SELF")
    return None if own is None else round(max(own, _beside_children) / 1e6, 1)


def child_ended() -> None:
    """To be called when a child process has been waited for."""
    global _beside_children
    own, child = _peak_bytes("RUSAGE_SELF"), _peak_bytes("RUSAGE_CHILDREN")
    if own is None or child is None:
        return
    with _lock:
        _beside_children = max(_beside_children, own + child)


def _peak_bytes(whose: str) -> int | None:
    if resource is None:
        return None
    peak = resource.getrusage(getattr(resource, whose)).ru_maxrss
    # Linux counts KiB, macOS bytes.
    return peak * (1 if sys.platform == "darwin" else 1024)
