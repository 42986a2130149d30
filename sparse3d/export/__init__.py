# SPDX-License-Identifier: Apache-2.0
"""From a run or a file of splats to a smaller one: what `compress` measures and `train` can mend, put together."""
