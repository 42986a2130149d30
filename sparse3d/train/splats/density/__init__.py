# SPDX-License-Identifier: Apache-2.0
"""Policies that add, move and remove splats. To add one: one file with `@POLICIES.register`, imported below."""

from __future__ import annotations

from sparse3d.train.splats.density import adaptive, fixed, mcmc
from sparse3d.train.splats.density.policy import POLICIES, DensityPolicy, DensityUpdate, RefineContext, identity_update

__all__ = [
    "POLICIES",
    "DensityPolicy",
    "DensityUpdate",
    "RefineContext",
    "adaptive",
    "fixed",
    "identity_update",
    "mcmc",
]
