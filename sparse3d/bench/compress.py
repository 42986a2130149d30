# SPDX-License-Identifier: Apache-2.0
"""`bench compress`: palette, codebook and orders of N splats, beside plain Lloyd in torch on the same machine."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from sparse3d.compress.codebook import codebook
from sparse3d.compress.order import grid_order, image_features, morton_order
from sparse3d.compress.palette import palette
from sparse3d.errors import DataError
from sparse3d.kernels import cpu
from sparse3d.splats import Splats

# Above this load other programs share the cores, and a time says little.
LOAD_MAX = 1.5
# Vectors of plain Lloyd at once: their distances to 65,536 entries are 256 MB.
_CHUNK = 1000
T = TypeVar("T")


@dataclass(frozen=True)
class CompressBenchConfig:
    """entries: of the palette; 0: as many as SOG has, a power of 2 times 1024 that rises with the number of splats to
    65,536. reference_steps: how many steps of plain Lloyd are timed; 0 leaves it out."""

    entries: int = 0
    iterations: int = 10
    threads: int = 0
    seed: int = 0
    reference_steps: int = 1


def run(splats: Splats, cfg: CompressBenchConfig) -> dict[str, Any]:
    """Times the parts in seconds: palette_s, codebook_s (256 entries for all numbers of the palette), morton_s, grid_s.

    palette_mse and codebook_mse are mean squared errors; lloyd_step_s and lloyd_mse are of cfg.reference_steps steps of
    plain Lloyd from random vectors; ratio is what cfg.iterations of those steps would take over palette_s. load and
    record say whether the machine was free. Raises DataError for splats without SH above degree 0.
    """
    if splats.sh_degree == 0 or splats.num_splats == 0:
        raise DataError(f"bench compress: {splats.num_splats} splats of SH degree {splats.sh_degree} have no palette")
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    threads = cpu.set_threads(cfg.threads)
    torch.set_num_threads(threads)
    vectors = splats.shN.reshape(splats.num_splats, -1)
    count = cfg.entries or _sog_entries(splats.num_splats)
    found, palette_s = _timed(lambda: palette(vectors, count, iterations=cfg.iterations, seed=cfg.seed))
    book, codebook_s = _timed(lambda: codebook(found.entries.reshape(-1)))
    _, morton_s = _timed(lambda: morton_order(splats.means))
    side = math.ceil(math.sqrt(splats.num_splats))
    _, grid_s = _timed(lambda: grid_order(image_features(splats), side, side, cfg.seed))
    result: dict[str, Any] = {
        "splats": splats.num_splats,
        "sh_degree": splats.sh_degree,
        "entries": len(found.entries),
        "iterations": cfg.iterations,
        "simd": cpu.level(),
        "threads": threads,
        "palette_s": palette_s,
        "palette_mse": found.mse,
        "codebook_s": codebook_s,
        "codebook_mse": book.mse,
        "morton_s": morton_s,
        "grid_s": grid_s,
        "load": load,
    }
    if cfg.reference_steps:
        mse, seconds = _timed(lambda: plain_lloyd(vectors, count, cfg.reference_steps, cfg.seed))
        result["lloyd_step_s"] = seconds / cfg.reference_steps
        result["lloyd_mse"] = mse
        result["ratio"] = result["lloyd_step_s"] * max(cfg.iterations, 1) / palette_s
    result["record"] = load <= LOAD_MAX
    return result


def made_splats(count: int, seed: int) -> Splats:
    """Splats of SH degree 3 from a seed: places in clumps, and coefficients that are smooth in space (waves of few
    directions), fall with the degree and have some noise, as trained ones do."""
    g = torch.Generator().manual_seed(seed)
    centres = torch.randn(64, 3, generator=g)
    means = centres[torch.randint(64, (count,), generator=g)] + 0.2 * torch.randn(count, 3, generator=g)
    waves = torch.sin(means @ (2.0 * torch.randn(3, 24, generator=g)))
    degree = torch.tensor([1] * 3 + [2] * 5 + [3] * 7)
    fall = (0.06 / degree).repeat_interleave(3)
    shared = waves @ torch.randn(24, 45, generator=g) / math.sqrt(24)
    higher = fall * (shared + 0.3 * torch.randn(count, 45, generator=g))
    return Splats(
        means=means,
        quats_wxyz=torch.randn(count, 4, generator=g),
        log_scales=-4.0 + 0.5 * torch.randn(count, 3, generator=g),
        logit_opacities=torch.randn(count, generator=g),
        sh0=(waves @ torch.randn(24, 3, generator=g) / math.sqrt(24)).reshape(count, 1, 3),
        shN=higher.reshape(count, 15, 3),
    )


def plain_lloyd(vectors: Tensor, count: int, steps: int, seed: int) -> float:
    """Mean squared error after `steps` steps of k-means, written with torch's matrix product, from random vectors."""
    g = torch.Generator().manual_seed(seed)
    entries = vectors[torch.randperm(len(vectors), generator=g)[:count]].clone()
    error = 0.0
    for _ in range(steps):
        half_norms = 0.5 * (entries * entries).sum(1)
        labels = torch.cat(
            [torch.addmm(half_norms[None], part, entries.T, alpha=-1).argmin(1) for part in vectors.split(_CHUNK)]
        )
        sizes = torch.bincount(labels, minlength=len(entries))
        sums = torch.zeros_like(entries).index_add_(0, labels, vectors)
        entries = torch.where((sizes > 0)[:, None], sums / sizes.clamp(min=1)[:, None], entries)
        error = float(((vectors - entries[labels]).double() ** 2).sum(1).mean())
    return error


def _sog_entries(count: int) -> int:
    return min(64, 2 ** max(0, int(math.log2(max(count / 1024, 1))))) * 1024


def _timed(call: Callable[[], T]) -> tuple[T, float]:
    began = time.perf_counter()
    out = call()
    return out, time.perf_counter() - began
