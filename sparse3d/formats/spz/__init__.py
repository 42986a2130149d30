# SPDX-License-Identifier: Apache-2.0
"""SPZ, versions 1 to 4."""
