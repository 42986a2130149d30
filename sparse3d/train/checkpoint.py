# SPDX-License-Identifier: Apache-2.0
"""All that a run needs to go on as if nothing had happened.

`checkpoint.safetensors` holds tensors and, in its header, the record; one rename makes both current, so that a kill at
any moment leaves either the old checkpoint or the new. `checkpoint.json` is a copy of the record for people to read; it
is written after, may be one checkpoint behind after a kill, and is never read back.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sparse3d.errors import DataError
from sparse3d.formats.atomic import atomic_file
from sparse3d.formats.tensor_file import read_tensors, write_tensors
from sparse3d.kernels.records import AdamState, DensityStats
from sparse3d.splats import PARAMETER_NAMES, Splats

SCHEMA = 1
FILE_NAME = "checkpoint.safetensors"
_READABLE_NAME = "checkpoint.json"


@dataclass
class Checkpoint:
    """The state of a run after `step` steps.

    generators: states of the random generators by name (uint8). extra: tensors of optional parts (exposure, cameras).
    order: state of the view order. config: the settings that the result depends on. names: training photos, in order.
    """

    step: int
    params: dict[str, Tensor]
    adam: AdamState
    stats: DensityStats
    generators: dict[str, Tensor]
    order: dict[str, Any]
    config: dict[str, Any]
    names: list[str]
    antialias: bool = False
    seconds: float = 0.0
    seconds_eval: float = 0.0
    extra: dict[str, Tensor] = field(default_factory=dict)

    @property
    def splats(self) -> Splats:
        return Splats(**self.params, antialias=self.antialias)


def save(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write the checkpoint of a run folder; returns the path. Raises DiskFullError with the one before still whole."""
    tensors = {f"params.{name}": tensor for name, tensor in checkpoint.params.items()}
    tensors |= {f"adam.m.{name}": tensor for name, tensor in checkpoint.adam.m.items()}
    tensors |= {f"adam.v.{name}": tensor for name, tensor in checkpoint.adam.v.items()}
    tensors |= {f"stats.{name}": tensor for name, tensor in vars(checkpoint.stats).items()}
    tensors |= {f"generator.{name}": state for name, state in checkpoint.generators.items()}
    tensors |= {f"extra.{name}": tensor for name, tensor in checkpoint.extra.items()}
    record = {
        "kind": "checkpoint",
        "schema": SCHEMA,
        "step": checkpoint.step,
        "adam_step": checkpoint.adam.step,
        "num_splats": checkpoint.params["means"].shape[0],
        "antialias": checkpoint.antialias,
        "seconds": checkpoint.seconds,
        "seconds_eval": checkpoint.seconds_eval,
        "order": checkpoint.order,
        "names": checkpoint.names,
        "config": checkpoint.config,
    }
    path = folder / FILE_NAME
    write_tensors(path, tensors, record)
    with atomic_file(folder / _READABLE_NAME) as file:
        file.write(json.dumps(record, indent=1).encode())
    return path


def exists(folder: Path) -> bool:
    return (folder / FILE_NAME).is_file()


def load(folder: Path) -> Checkpoint:
    """The checkpoint of a run folder. Raises DataError where it is missing, damaged or of another version."""
    path = folder / FILE_NAME
    tensors, record = read_tensors(path)
    if record.get("kind") != "checkpoint" or record.get("schema") != SCHEMA:
        raise DataError(
            f"{path}: a {record.get('kind')!r} of schema {record.get('schema')!r}, expected 'checkpoint' of schema "
            f"{SCHEMA}; it was written by another version, train again with --overwrite"
        )

    def group(prefix: str) -> dict[str, Tensor]:
        return {name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}

    try:
        params = group("params.")
        return Checkpoint(
            step=record["step"],
            params={name: params[name] for name in PARAMETER_NAMES},
            adam=AdamState(group("adam.m."), group("adam.v."), record["adam_step"]),
            stats=DensityStats(**group("stats.")),
            generators=group("generator."),
            order=record["order"],
            config=record["config"],
            names=record["names"],
            antialias=record["antialias"],
            seconds=record["seconds"],
            seconds_eval=record["seconds_eval"],
            extra=group("extra."),
        )
    except (KeyError, TypeError) as error:
        raise DataError(f"{path}: the checkpoint lacks {error}; train again with --overwrite") from None


def generator_from(state: Tensor) -> torch.Generator:
    generator = torch.Generator()
    generator.set_state(state)
    return generator
