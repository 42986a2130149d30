# SPDX-License-Identifier: Apache-2.0
"""What a run trains, as the loop sees it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass
class OutputGradients:
    """Gradients of the loss to the step's rendering; None is zero. Terms add to them.

    image [H,W,3], alpha [H,W], depth [H,W] (the depth that is not divided by alpha).
    """

    image: Tensor | None = None
    alpha: Tensor | None = None
    depth: Tensor | None = None

    def add(self, *, image: Tensor | None = None, alpha: Tensor | None = None, depth: Tensor | None = None) -> None:
        for name, value in (("image", image), ("alpha", alpha), ("depth", depth)):
            if value is not None:
                before = getattr(self, name)
                setattr(self, name, value if before is None else before + value)
