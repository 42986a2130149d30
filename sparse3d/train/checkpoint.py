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

from torch import Tensor

from sparse3d.errors import DataError
from sparse3d.formats.atomic import atomic_file
from sparse3d.formats.tensor_file import read_tensors, write_tensors

SCHEMA = 1
FILE_NAME = "checkpoint.safetensors"
_READABLE_NAME = "checkpoint.json"
# What the loop itself keeps in the record; the rest is the trainee's.
_LOOP_KEYS = ("kind", "schema", "step", "seconds", "seconds_eval", "order", "names", "config", "commands")
_GENERATOR, _EXTRA = "generator.", "extra."


@dataclass
class Checkpoint:
    """The state of a run after `step` steps.

    tensors, state: of what is trained. generators: states of the random generators by name (uint8). extra: exposures
    and poses. order: state of the view order. config: the settings that the result depends on. names: training photos,
    in order. commands: those that have changed what is trained (`steer.Steering.done`); what they changed is part of
    tensors and state.
    """

    step: int
    tensors: dict[str, Tensor]
    state: dict[str, Any]
    generators: dict[str, Tensor]
    order: dict[str, Any]
    config: dict[str, Any]
    names: list[str]
    seconds: float = 0.0
    seconds_eval: float = 0.0
    extra: dict[str, Tensor] = field(default_factory=dict)
    commands: list[dict[str, Any]] = field(default_factory=list)


def save(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write the checkpoint of a run folder; returns the path. Raises DiskFullError with the one before still whole."""
    tensors = dict(checkpoint.tensors)
    tensors |= {f"{_GENERATOR}{name}": state for name, state in checkpoint.generators.items()}
    tensors |= {f"{_EXTRA}{name}": tensor for name, tensor in checkpoint.extra.items()}
    record = {
        "kind": "checkpoint",
        "schema": SCHEMA,
        "step": checkpoint.step,
        **checkpoint.state,
        "seconds": checkpoint.seconds,
        "seconds_eval": checkpoint.seconds_eval,
        "order": checkpoint.order,
        "names": checkpoint.names,
        "config": checkpoint.config,
    }
    if checkpoint.commands:
        record["commands"] = checkpoint.commands
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
        return Checkpoint(
            step=record["step"],
            tensors={n: t for n, t in tensors.items() if not n.startswith((_GENERATOR, _EXTRA))},
            state={key: value for key, value in record.items() if key not in _LOOP_KEYS},
            generators=group(_GENERATOR),
            order=record["order"],
            config=record["config"],
            names=record["names"],
            seconds=record["seconds"],
            seconds_eval=record["seconds_eval"],
            extra=group(_EXTRA),
            commands=record.get("commands", []),
        )
    except KeyError as error:
        raise DataError(f"{path}: the checkpoint lacks {error}; train again with --overwrite") from None
