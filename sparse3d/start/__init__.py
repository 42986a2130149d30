# SPDX-License-Identifier: Apache-2.0
"""What training starts from: points, depth, and the first splats."""
