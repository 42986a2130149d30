# SPDX-License-Identifier: Apache-2.0
"""The training loop and what it is made of. Nothing is imported here: `sparse3d.train.config` must stay free of torch.

`trainer.train` is the loop (a generator of events), `pipeline.run_training` the way from photos to a run folder.
"""
