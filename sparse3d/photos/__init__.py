# SPDX-License-Identifier: Apache-2.0
"""Photos: files, colour, masks, undistortion, and the store that gives them out as tensors."""
