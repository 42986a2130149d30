# SPDX-License-Identifier: Apache-2.0
"""A run from photos to a folder, and a finished run opened again."""
