# SPDX-License-Identifier: Apache-2.0
"""The scene inside a report: small enough to be sent, and made in a second or two."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from sparse3d.splats import Splats

# Bytes of the scene that are aimed at, and what a splat takes of them by degree of its harmonics, as SPZ on trained
# scenes; and the most splats that a phone plays well.
_AIM = 4_000_000
_BYTES = {3: 26.0, 2: 22.0, 1: 17.0, 0: 13.0}
_MOST = 300_000


@dataclass(frozen=True)
class Shown:
    """splats: of the scene, as many as the page shows. degree: of the harmonics that it keeps. note: what was left out,
    a sentence, or ""."""

    splats: Splats
    degree: int
    note: str


def shown(splats: Splats) -> Shown:
    """All splats where they fit; else with harmonics of a lower degree; else without those that weigh least, which is
    opacity by the area of the splat's larger two sides."""
    count = min(splats.num_splats, _MOST)
    degrees = [d for d in sorted(_BYTES, reverse=True) if d <= splats.sh_degree]
    degree = next((d for d in degrees if count * _BYTES[d] <= _AIM), 0)
    said = []
    if degree < min(splats.sh_degree, 3):
        said.append(f"colours of degree {degree} in place of {splats.sh_degree}")
    kept = splats
    if splats.num_splats > count:
        sides = splats.scales.double().sort(dim=1).values
        weights = splats.opacities.double() * sides[:, 1] * sides[:, 2]
        rows = torch.argsort(weights, descending=True, stable=True)[:count].sort().values
        kept = splats.select(rows)
        said.append(f"the {count:,} splats that weigh most of {splats.num_splats:,}")
    note = f"To stay small, this page shows {' and '.join(said)}; splat.ply has all." if said else ""
    return Shown(kept, degree, note)
