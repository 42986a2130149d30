# SPDX-License-Identifier: Apache-2.0
"""Cameras from photos (structure from motion), and points triangulated with known cameras."""
