# SPDX-License-Identifier: Apache-2.0
"""Gaussian splats as what a run trains."""
