# SPDX-License-Identifier: Apache-2.0
"""support.safetensors: how many training photos support each splat of a run."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from sparse3d.formats.tensor_file import read_tensors, write_tensors


def write_support(path: Path, support: Tensor, num_views: int) -> None:
    """support.safetensors of a run: "views" [N] uint8, in the order of splat.ply, and of how many photos."""
    write_tensors(path, {"views": support}, {"kind": "supporting views", "photos": num_views})


def read_support(path: Path) -> Tensor:
    """[N] uint8 of `write_support`. Raises DataError for another file."""
    tensors, _ = read_tensors(path)
    return tensors["views"]
