# SPDX-License-Identifier: Apache-2.0
"""glTF with splats: KHR_gaussian_splatting, and SPZ inside."""
