# SPDX-License-Identifier: Apache-2.0
"""What a step is made with: rates, degree, image size, moments of change. Pure functions of the step and the
settings."""

from __future__ import annotations

import torch
from torch import Tensor

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


def image_scale(schedule: ScheduleConfig, width: int, height: int, progress: float) -> int:
    """1, 2 or 4: photos are reduced by this factor at this progress."""
    short = min(width, height)
    if progress < schedule.quarter_size_until and short // 4 >= schedule.min_side_px:
        return 4
    if progress < max(schedule.half_size_until, schedule.quarter_size_until) and short // 2 >= schedule.min_side_px:
        return 2
    return 1


def refine_interval(density: DensityConfig, steps: int) -> int:
    """Steps between changes of the splats: `every`, less in a short run."""
    window = (density.stop - density.start) * steps
    return max(_MIN_INTERVAL, min(density.every, int(window / _MIN_REFINEMENTS)))


def is_refine_step(density: DensityConfig, step: int, steps: int) -> bool:
    """Whether the splats change after `step` (1-based). Pruning and relocation end with the additions."""
    if not density.start * steps <= step <= density.stop * steps:
        return False
    return step % refine_interval(density, steps) == 0


class ViewOrder:
    """Every photo once in a seeded order, then all of them again in another. Its state goes into the checkpoint."""

    def __init__(self, count: int, generator: torch.Generator) -> None:
        if count < 1:
            raise ValueError("ViewOrder needs at least one view")
        self._count, self._generator = count, generator
        self._order: list[int] = []
        self._position = 0

    def next(self) -> int:
        """Position of the next photo among the training photos."""
        if self._position == len(self._order):
            previous = self._order[-1] if self._order else -1
            self._order = torch.randperm(self._count, generator=self._generator).tolist()
            if self._count > 1 and self._order[0] == previous:
                # The same photo twice in a row teaches little.
                self._order.append(self._order.pop(0))
            self._position = 0
        self._position += 1
        return self._order[self._position - 1]

    def peek(self) -> int | None:
        """The photo that `next` will give, where the current order knows it; for reading it ahead."""
        return self._order[self._position] if self._position < len(self._order) else None

    def state(self) -> dict[str, list[int] | int]:
        return {"order": list(self._order), "position": self._position}

    def restore(self, state: dict) -> None:
        order, position = list(state["order"]), int(state["position"])
        if sorted(order) not in ([], list(range(self._count))) or not 0 <= position <= len(order):
            raise ValueError(f"view order of {len(order)} at {position} does not fit {self._count} views")
        self._order, self._position = order, position


def background_color(kind: str, generator: torch.Generator, out: Tensor) -> Tensor:
    """Fill `out` [3] with the background of one step: black, white, or random from `generator`."""
    if kind == "random":
        return out.uniform_(0.0, 1.0, generator=generator)
    return out.fill_(1.0 if kind == "white" else 0.0)
