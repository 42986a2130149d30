# SPDX-License-Identifier: Apache-2.0
"""Smoothness of the rendered depth where the photo is smooth."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sparse3d.train.terms.expected_depth import ExpectedDepthTerm
from sparse3d.train.terms.term import TERMS, TermStep

# A colour step of a tenth of the range weakens smoothness across it to 1 / e.
_EDGE = 10.0
# Bends below this share of the mean inverse depth count quadratically: the sign of rounding errors teaches nothing.
_HUBER = 1e-3


@TERMS.register("smooth")
class Smoothness(ExpectedDepthTerm):
    """Mean of exp(-10 |dI|) Huber(d2(1/z) / m) along half of the rows and columns, m the mean of 1/z: edge-aware
    smoothness (Godard et al. 2017; for splats Binocular3DGS, Han et al. 2024), of second order, since the inverse depth
    of any plane is linear in the image: slanted walls cost nothing."""

    def v_z(self, z: Tensor, seen: Tensor, step: TermStep) -> Tensor:
        inverse = 1.0 / z
        # numpy sums on one thread, in the same order every time.
        count = int(np.count_nonzero(seen.numpy()))
        total = float((inverse * seen).numpy().sum(dtype=np.float64))
        if count == 0:
            return torch.zeros_like(z)
        # The sum's own gradient is left out: it is a unit of length, not something to learn.
        scale, bound = 2.0 * self.cfg.smooth / total, _HUBER * total / count
        v_inverse = torch.zeros_like(z)
        first = torch.randint(2, (2,), generator=self.setup.generator).tolist()
        for turned in (0, 1):
            # Every second row, then every second column, other ones in every step.
            lines = slice(first[turned], None, 2)
            x, v, s = ((t.T if turned else t)[lines] for t in (inverse, v_inverse, seen))
            image = (step.target.transpose(0, 1) if turned else step.target)[lines]
            red, green, blue = (image[:, 1:] - image[:, :-1]).abs().unbind(2)
            step_of_color = (red + green + blue) / 3.0
            edges = torch.from_numpy(np.exp(-_EDGE * (step_of_color[:, 1:] + step_of_color[:, :-1]).numpy()))
            bend = x[:, 2:] - 2.0 * x[:, 1:-1] + x[:, :-2]
            slope = (bend / bound).clamp(-1.0, 1.0) * edges * (s[:, 2:] & s[:, 1:-1] & s[:, :-2]) * scale
            v[:, 2:] += slope
            v[:, 1:-1] -= 2.0 * slope
            v[:, :-2] += slope
        return -v_inverse * inverse * inverse
