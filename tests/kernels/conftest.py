# SPDX-License-Identifier: Apache-2.0
"""One body for all back ends: the fixture `backend` runs a test on each that this machine has."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# Helpers of this folder (synthetic, parity) are plain modules beside the tests.
sys.path.insert(0, str(Path(__file__).parent))

from parity import CPU_LEVELS, CPU_MISSING, Backend


def _parameters() -> list:
    found = [pytest.param(None, id="reference-float32")]
    found += [pytest.param(level, id=f"cpu-{level}") for level in CPU_LEVELS]
    if not CPU_LEVELS:
        found.append(pytest.param("none", id="cpu", marks=pytest.mark.skip(reason=CPU_MISSING)))
    return found


@pytest.fixture(params=_parameters())
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """Each back end in float32: the reference itself (which states how much float32 alone costs), and the CPU kernels
    at every SIMD level of this machine."""
    with use(request.param) as chosen:
        yield chosen


@pytest.fixture(params=_parameters()[1:])
def cpu_backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """The CPU kernels only, at every SIMD level of this machine."""
    with use(request.param) as chosen:
        yield chosen


@contextlib.contextmanager
def use(level: str | None) -> Iterator[Backend]:
    if level is None:
        yield Backend("reference")
        return
    from sparse3d.kernels import cpu

    with cpu.use_level(level):
        yield Backend("cpu")
