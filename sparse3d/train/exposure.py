# SPDX-License-Identifier: Apache-2.0
"""Per-photo exposure: seen = gain * rendered + bias, per colour channel, learned beside the splats.

Phones change exposure and white balance from photo to photo; without this the splats explain it with view-dependent
colour or with fog before the cameras.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sparse3d.train.config import ExposureConfig
from sparse3d.train.optimizer import SmallAdam


class Exposure:
    """Gains and biases [V,6] of the training photos, identity at first."""

    def __init__(self, views: int, cfg: ExposureConfig) -> None:
        self._cfg = cfg
        self.values = np.zeros((views, 6))
        self.values[:, :3] = 1.0
        self._adam = SmallAdam(views, 6)
        self._raw = torch.zeros(0)

    def apply(self, view: int, image: Tensor) -> None:
        """Change the rendered image [H,W,3] in place, keeping what it was for `backward`."""
        self._raw = image.clone()
        gain, bias = torch.from_numpy(self.values[view].astype(np.float32)).split(3)
        image.mul_(gain).add_(bias)

    def backward(self, view: int, image: Tensor, v_image: Tensor) -> Tensor:
        """Put the rendered image back, update the view's row, return the gradient to the image as rendered.

        v_image [H,W,3]: gradient to the image after `apply`.
        """
        image.copy_(self._raw)
        row = self.values[view]
        # numpy sums on one thread, in the same order every time.
        v = v_image.numpy()
        v_gain = (v * self._raw.numpy()).sum(axis=(0, 1), dtype=np.float64)
        v_bias = v.sum(axis=(0, 1), dtype=np.float64)
        pull = 2 * self._cfg.pull * np.concatenate([row[:3] - 1.0, row[3:]])
        gain = torch.from_numpy(row[:3].astype(np.float32))
        out = v_image * gain
        row += self._adam.update(view, np.concatenate([v_gain, v_bias]) + pull, self._cfg.rate)
        return out

    def tensors(self) -> dict[str, Tensor]:
        return {"exposure.values": torch.from_numpy(self.values.copy()), **self._adam.tensors("exposure")}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        self.values[...] = tensors["exposure.values"].numpy()
        self._adam.restore("exposure", tensors)
