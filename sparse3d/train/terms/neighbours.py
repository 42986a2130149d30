# SPDX-License-Identifier: Apache-2.0
"""The nearest other splats of each splat, found once between two changes of the set: finding them takes as long as ten
steps."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from sparse3d.kernels.neighbours import nearest_rows


class Neighbours:
    """Rows [N,count] of the nearest splats, by the positions at the first use after a change. `name` is that of its
    tensor in the checkpoint: found anew, they would not be those of an unbroken run."""

    def __init__(self, name: str, count: int) -> None:
        self._name, self._count = name, count
        self._rows: Tensor | None = None

    def rows(self, params: Mapping[str, Tensor]) -> Tensor:
        if self._rows is None:
            self._rows = torch.from_numpy(nearest_rows(params["means"].numpy(), self._count))
        return self._rows

    def forget(self) -> None:
        self._rows = None

    def tensors(self) -> dict[str, Tensor]:
        return {} if self._rows is None else {self._name: self._rows}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        self._rows = tensors.get(self._name)
