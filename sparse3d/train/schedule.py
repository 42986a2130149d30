# SPDX-License-Identifier: Apache-2.0
"""What a step is made with: rates, degree, image size, moments of change. Pure functions of the step and the
settings."""

from __future__ import annotations

import torch
from torch import Tensor

from sparse3d.train.config import ScheduleConfig


def image_scale(schedule: ScheduleConfig, width: int, height: int, progress: float) -> int:
    """1, 2 or 4: photos are reduced by this factor at this progress."""
    short = min(width, height)
    if progress < schedule.quarter_size_until and short // 4 >= schedule.min_side_px:
        return 4
    if progress < max(schedule.half_size_until, schedule.quarter_size_until) and short // 2 >= schedule.min_side_px:
        return 2
    return 1


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
            self._order = torch.randperm(self._count, generator=self._generator, device=self._generator.device).tolist()
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
