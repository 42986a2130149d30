# SPDX-License-Identifier: Apache-2.0
"""What users know about their photos beyond the photos: depth, normals, matches. Never required, never downloaded."""

from __future__ import annotations

from sparse3d.depth.priors.load import NormalMap, Priors, RelativeDepth, check_prior_paths, load_priors

__all__ = ["NormalMap", "Priors", "RelativeDepth", "check_prior_paths", "load_priors"]
