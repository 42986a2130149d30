# SPDX-License-Identifier: Apache-2.0
"""Dense depth from few photos with known poses, without a network: match, check, fill, fuse."""
