# SPDX-License-Identifier: Apache-2.0
"""Which build of the CPU kernels runs here."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
from collections.abc import Iterator
from types import ModuleType

import torch

from sparse3d.errors import BackendError, UsageError

# Instruction sets, best first, with what torch calls the processor that has them.
_LEVELS = {
    "v4": ("AVX512",),
    "v3": ("AVX512", "AVX2"),
    "base": ("AVX512", "AVX2", "DEFAULT"),
    "neon": ("DEFAULT", "SVE256"),
}

_module: ModuleType | None = None
_level = ""


def _load(level: str) -> ModuleType:
    return importlib.import_module(f"sparse3d._cpu_{level}")


def available_levels() -> list[str]:
    """Names of the builds that are installed and that this processor can run, best first."""
    capability = torch.backends.cpu.get_cpu_capability()
    found = []
    for level, needs in _LEVELS.items():
        if capability in needs and importlib.util.find_spec(f"sparse3d._cpu_{level}") is not None:
            found.append(level)
    return found


def module() -> ModuleType:
    """The extension in use: the one that S3D_SIMD names, else the best. Raises BackendError where there is none."""
    global _module, _level
    if _module is None:
        levels = available_levels()
        wanted = os.environ.get("S3D_SIMD", "")
        if wanted and wanted not in levels:
            raise BackendError(
                f"S3D_SIMD asks for the CPU kernels {wanted!r}; this machine and installation have: "
                f"{', '.join(levels) or 'none'}"
            )
        if not levels:
            raise BackendError(
                "the CPU kernels are not built for this machine (processor capability "
                f"{torch.backends.cpu.get_cpu_capability()}); reinstall with a C++20 compiler: pip install ."
            )
        _level = wanted or levels[0]
        _module = _load(_level)
    return _module


def level() -> str:
    """Name of the build in use."""
    module()
    return _level


@contextlib.contextmanager
def use_level(name: str) -> Iterator[None]:
    """Runs the body on another build, for tests. Raises BackendError where this machine lacks it."""
    global _module, _level
    if name not in available_levels():
        raise BackendError(f"this machine has no CPU kernels {name!r} (it has: {', '.join(available_levels())})")
    before = (_module, _level)
    _module, _level = _load(name), name
    try:
        yield
    finally:
        _module, _level = before


def set_threads(count: int) -> int:
    """Threads that kernels use (0: one a processor); returns the number in force. Results do not depend on it."""
    return module().set_num_threads(count)


@contextlib.contextmanager
def share(threads: int) -> Iterator[None]:
    """Gives the calling Python thread kernel threads of its own while the body runs; results do not depend on it.

    Without it, threads that call kernels at once take turns on the common threads of `set_threads`. A viewer that draws
    beside a trainer does so in `with share(1):`; the trainer then keeps all of its threads and waits for nobody.

    threads: 1 or more, the calling one included; those beyond it are started at the first kernel of the body and end
    with it. Raises UsageError for less than 1.
    """
    if threads < 1:
        raise UsageError(f"share: {threads} threads asked for; a caller has at least 1, its own")
    kernels = module()
    before = kernels.set_caller_threads(threads)
    try:
        yield
    finally:
        kernels.set_caller_threads(before)
