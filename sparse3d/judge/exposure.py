# SPDX-License-Identifier: Apache-2.0
"""A photo's exposure: seen = gain * rendered + bias, per colour channel."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def exposed(image: Tensor, exposure: NDArray[np.float64]) -> Tensor:
    """The rendered image [H,W,3] as a photo of this exposure [6] (gains, then biases) shows it; a new tensor."""
    gain, bias = torch.from_numpy(exposure.astype(np.float32)).to(image.device).split(3)
    return image * gain + bias


def unexposed(photo: Tensor, exposure: NDArray[np.float64]) -> Tensor:
    """What `exposed` makes `photo` [H,W,3] of."""
    gain, bias = torch.from_numpy(exposure.astype(np.float32)).to(photo.device).split(3)
    return (photo - bias) / gain
