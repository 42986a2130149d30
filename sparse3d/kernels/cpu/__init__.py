# SPDX-License-Identifier: Apache-2.0
"""The CPU back end: our own kernels, in C++ (cpu/)."""

from __future__ import annotations

from sparse3d.kernels.cpu.native import available_levels, level, module, set_threads, share, use_level

__all__ = ["available_levels", "level", "module", "set_threads", "share", "use_level"]
