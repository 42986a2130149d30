# SPDX-License-Identifier: Apache-2.0
"""All training terms: importing this module fills the table."""

from __future__ import annotations

from sparse3d.train.splats.terms import depth, normal, opacity, outside
from sparse3d.train.splats.terms.term import TERMS

__all__ = ["TERMS", "depth", "normal", "opacity", "outside"]
