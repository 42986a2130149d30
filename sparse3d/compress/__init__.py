# SPDX-License-Identifier: Apache-2.0
"""Algorithms that make splats smaller, on arrays, without knowing any file format."""
