# SPDX-License-Identifier: Apache-2.0
"""Named tensors and a JSON record in one safetensors file, written atomically: both or neither are there after a
kill."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from sparse3d.errors import DataError
from sparse3d.formats.atomic import atomic_file

_TYPES = {torch.float32: "F32", torch.float64: "F64", torch.int64: "I64", torch.uint8: "U8", torch.bool: "BOOL"}
# The metadata of safetensors maps text to text; ours is one JSON text under this key.
_RECORD = "sparse3d"


def write_tensors(path: Path, tensors: Mapping[str, Tensor], record: Mapping[str, Any]) -> None:
    """Write CPU tensors and a JSON-able record. Streams tensor by tensor: no second copy of them is made in memory.

    Raises DiskFullError with the earlier file of that name still whole.
    """
    header: dict[str, Any] = {"__metadata__": {_RECORD: json.dumps(record)}}
    arrays = []
    offset = 0
    for name, tensor in tensors.items():
        array = tensor.detach().contiguous().numpy()
        header[name] = {
            "dtype": _TYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [offset, offset + array.nbytes],
        }
        offset += array.nbytes
        arrays.append(array)
    text = json.dumps(header).encode()
    # The format asks for data aligned to 8 bytes; spaces may follow the header.
    text += b" " * (-len(text) % 8)
    with atomic_file(path) as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for array in arrays:
            # An empty array has no buffer to show.
            if array.nbytes:
                file.write(memoryview(array).cast("B"))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the record of `write_tensors`. Raises DataError for a file that is missing or not of that
    kind."""
    try:
        with safe_open(str(path), framework="pt") as file:
            record = json.loads((file.metadata() or {})[_RECORD])
            # Copies: a view of the mapped file would keep it open, and changes in place would be private pages.
            return {name: file.get_tensor(name).clone() for name in file.keys()}, record  # noqa: SIM118
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file; check the path") from None
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise DataError(
            f"{path}: not a file of tensors of this program, or damaged ({error}); give one that sparse3d wrote, or "
            "copy it again"
        ) from None
