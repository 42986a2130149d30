# SPDX-License-Identifier: Apache-2.0
"""PLY: the field's own files of splats, PlayCanvas' compressed ones, and coloured points."""
