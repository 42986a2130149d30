# SPDX-License-Identifier: Apache-2.0
"""Pure algorithms on tensors that make splats small: orders, palettes, codebooks."""
