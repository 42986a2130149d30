# SPDX-License-Identifier: Apache-2.0
"""What changes for splats over a run: rates, degree of harmonics, moments of refinement. Pure functions."""

from __future__ import annotations

from sparse3d.train.config import DensityConfig, RatesConfig, ScheduleConfig

# How many changes of the splats a run has at least between the first and the last.
_MIN_REFINEMENTS = 10


# Below this many steps between changes, gradients come from too few photos to tell splats apart.
_MIN_INTERVAL = 10


def decayed(first: float, last: float, progress: float) -> float:
    """Exponential from `first` at progress 0 to `last` at progress 1. Both positive, or equal."""
    return first if first == last else first * (last / first) ** min(max(progress, 0.0), 1.0)


def learning_rates(rates: RatesConfig, extent: float, progress: float) -> dict[str, float]:
    """Adam's rate of each parameter, by its name in PARAMETER_NAMES. `extent` is the scene's radius in world units."""
    tail = decayed(1.0, rates.others_final, progress)
    return {
        "means": extent * decayed(rates.means, rates.means_final, progress),
        "quats_wxyz": rates.quats * tail,
        "log_scales": rates.scales * tail,
        "logit_opacities": rates.opacities * tail,
        "sh0": rates.sh0 * tail,
        "shN": rates.shN * tail,
    }


def sh_degree(schedule: ScheduleConfig, highest: int, progress: float) -> int:
    """Degree evaluated at this progress: one more after each `sh_degree_every`."""
    if schedule.sh_degree_every <= 0:
        return highest
    # The small addend lets 0.3 / 0.1 count as 3.
    return min(highest, int(progress / schedule.sh_degree_every + 1e-9))


def refine_interval(density: DensityConfig, steps: int) -> int:
    """Steps between changes of the splats: `every`, less in a short run."""
    window = (density.stop - density.start) * steps
    return max(_MIN_INTERVAL, min(density.every, int(window / _MIN_REFINEMENTS)))


def is_refine_step(density: DensityConfig, step: int, steps: int) -> bool:
    """Whether the splats change after `step` (1-based). Pruning and relocation end with the additions."""
    if not density.start * steps <= step <= density.stop * steps:
        return False
    return step % refine_interval(density, steps) == 0
