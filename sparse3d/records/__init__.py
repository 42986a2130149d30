# SPDX-License-Identifier: Apache-2.0
"""What a scene is made of: points, matches, and the scene itself."""
