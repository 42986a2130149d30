# SPDX-License-Identifier: Apache-2.0
"""Adam: the reference against torch's own optimiser, dense and for visible rows only."""

from __future__ import annotations

import torch

from sparse3d.kernels import reference


def _gradients(steps: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    # Scales from 1e-9 to 1e3: eps = 1e-15 must not matter, and the bias correction must.
    factors = 10.0 ** torch.linspace(-9, 3, 40, dtype=torch.float64)[:, None]
    return [factors * torch.randn(40, 3, generator=generator, dtype=torch.float64) for _ in range(steps)]


def test_dense_step_is_torchs() -> None:
    start = torch.randn(40, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    theirs = torch.nn.Parameter(start.clone())
    optimiser = torch.optim.Adam([theirs], lr=0.01, betas=(0.9, 0.999), eps=1e-15)
    param, m, v = start.clone(), torch.zeros_like(start), torch.zeros_like(start)
    for step, gradient in enumerate(_gradients(12), start=1):
        theirs.grad = gradient.clone()
        optimiser.step()
        param, m, v = reference.adam_step(param, gradient, m, v, step, 0.01, 0.9, 0.999, 1e-15)
        torch.testing.assert_close(param, theirs.detach(), rtol=1e-12, atol=1e-13)
    assert (param - start).abs().min() > 1e-3


def test_eps_is_outside_the_root() -> None:
    """With eps far above the gradient a step is lr * g / eps; inside the root it would be lr * g / sqrt(eps)."""
    zero = torch.zeros(1, dtype=torch.float64)
    param, _, _ = reference.adam_step(zero, zero + 1e-6, zero, zero, 1, 1.0, 0.9, 0.999, eps=1.0)
    torch.testing.assert_close(param, zero - 1e-6, rtol=1e-5, atol=0)


def test_invisible_rows_keep_everything_and_the_step_is_global() -> None:
    start = torch.randn(40, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    gradients = _gradients(3)
    visible = torch.arange(40) % 3 == 0
    first = reference.adam_step(start, gradients[0], torch.zeros_like(start), torch.zeros_like(start), 1, 0.01)
    sparse = reference.adam_step(first[0], gradients[1], first[1], first[2], 2, 0.01, visible=visible)
    dense = reference.adam_step(first[0], gradients[1], first[1], first[2], 2, 0.01)
    for before, found, everywhere in zip(first, sparse, dense, strict=True):
        assert torch.equal(found[~visible], before[~visible])
        assert torch.equal(found[visible], everywhere[visible])
        assert not torch.equal(everywhere[~visible], before[~visible])
    # A row seen for the first time at step 3 is corrected for step 3, not for step 1.
    late = reference.adam_step(start, gradients[2], start * 0, start * 0, 3, 0.01, visible=visible)
    fresh = reference.adam_step(start, gradients[2], start * 0, start * 0, 1, 0.01, visible=visible)
    ratio = ((late[0] - start) / (fresh[0] - start))[visible]
    expected = (1 - 0.999**3) ** 0.5 / (1 - 0.9**3) / ((1 - 0.999) ** 0.5 / (1 - 0.9))
    # The smallest gradients are 1e-12, where eps is 3 % of a thousandth.
    torch.testing.assert_close(ratio, torch.full_like(ratio, expected), rtol=2e-3, atol=0)
