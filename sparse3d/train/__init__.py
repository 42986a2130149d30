# SPDX-License-Identifier: Apache-2.0
"""The training loop, what it trains, and what it is made of.

`loop.train` is the loop (a generator of events), `trainee` what it asks of a representation, `splats` the first one.
Nothing is imported here: `train.config` must stay free of torch.
"""
