# SPDX-License-Identifier: Apache-2.0
"""Per-photo exposure: seen = gain * rendered + bias, per colour channel, learned beside the splats.

Phones change exposure and white balance from photo to photo; without this the splats explain it with view-dependent
colour or with fog before the cameras.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sparse3d.judge.exposure import exposed
from sparse3d.kernels.small_adam import SmallAdam
from sparse3d.train.config import ExposureConfig


class Exposure:
    """Gains and biases [V,6] of the training photos, identity at first."""

    def __init__(self, views: int, cfg: ExposureConfig) -> None:
        self._cfg = cfg
        self.values = np.zeros((views, 6))
        self.values[:, :3] = 1.0
        self._adam = SmallAdam(views, 6)

    def apply(self, view: int, image: Tensor) -> Tensor:
        """The rendered image [H,W,3] as this photo's exposure shows it; a new tensor."""
        return exposed(image, self.values[view])

    def backward(self, view: int, image: Tensor, v_shown: Tensor) -> Tensor:
        """Update the photo's row; return the gradient to the rendered image.

        image [H,W,3] as rendered; v_shown [H,W,3] is the gradient to what `apply` made of it.
        """
        row = self.values[view]
        # numpy sums on one thread, in the same order every time.
        v = v_shown.numpy()
        v_gain = (v * image.numpy()).sum(axis=(0, 1), dtype=np.float64)
        v_bias = v.sum(axis=(0, 1), dtype=np.float64)
        pull = 2 * self._cfg.pull * np.concatenate([row[:3] - 1.0, row[3:]])
        v_image = v_shown * torch.from_numpy(row[:3].astype(np.float32))
        row += self._adam.update(view, np.concatenate([v_gain, v_bias]) + pull, self._cfg.rate)
        return v_image

    def tensors(self) -> dict[str, Tensor]:
        return {"exposure.values": torch.from_numpy(self.values.copy()), **self._adam.tensors("exposure")}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        self.values[...] = tensors["exposure.values"].numpy()
        self._adam.restore("exposure", tensors)
