# SPDX-License-Identifier: Apache-2.0
"""Formulas in plain torch, any dtype, that kernels are compared with and other rooms use."""
