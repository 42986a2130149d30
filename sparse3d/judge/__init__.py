# SPDX-License-Identifier: Apache-2.0
"""What measures splats: cameras, pictures and exposures in, masks and numbers out."""
