# SPDX-License-Identifier: Apache-2.0
"""Algorithms on tensors that make splats small: palettes, codebooks and orders. Knows no file format."""
