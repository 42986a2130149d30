# SPDX-License-Identifier: Apache-2.0
"""Algorithms that make scenes of splats smaller, on tensors alone: what each splat does for the picture, which to leave
out, which to merge, which bands of colour to cut."""
