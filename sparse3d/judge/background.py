# SPDX-License-Identifier: Apache-2.0
"""The colour that pictures are compared over."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sparse3d.records.scene import Scene


def known_background(scene: Scene) -> str:
    """The colour behind transparent pixels in the photos as loaded: "white" or "black"; black where none has alpha."""
    if not scene.train or scene.images.alpha(scene.train[0]) is None:
        return "black"
    return scene.images.background


def evaluation_background(scene: Scene, trained_with: str) -> Tensor:
    """[3] colour to render over when comparing with photos: what lies behind transparent pixels there, else the colour
    `trained_with` ("auto", "black", "white", "random", "mean"; black for random ones)."""
    transparent = bool(scene.train) and scene.images.alpha(scene.train[0]) is not None
    if trained_with == "mean" and not transparent and not scene.has_masks:
        return mean_colour(scene)
    name = known_background(scene) if transparent else trained_with
    return torch.full((3,), 1.0 if name == "white" else 0.0, device="cpu")


def mean_colour(scene: Scene) -> Tensor:
    """[3] mean of all pixels of the training photos. Behind a scene of few photos it is the best guess of what none of
    them shows, and black the worst."""
    means = [scene.images.rgb8(i).reshape(-1, 3).mean(axis=0, dtype=np.float64) for i in scene.train]
    return torch.from_numpy((np.mean(means, axis=0) / 255.0).astype(np.float32))
