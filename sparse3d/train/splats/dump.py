# SPDX-License-Identifier: Apache-2.0
"""The inputs of a step that went wrong, in one file, and running that step again on any back end."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from sparse3d.errors import DataError
from sparse3d.formats.tensor_file import read_tensors, write_tensors
from sparse3d.kernels.records import AdamHyper, AdamState, OutputGradients, RasterSettings, View
from sparse3d.kernels.step import backend_name, photometric, splat_step
from sparse3d.splats import PARAMETER_NAMES
from sparse3d.train.safety import is_sound_loss
from sparse3d.train.splats.safety import find_bad


@dataclass(frozen=True)
class StepInputs:
    """All that one step reads. view_name: the photo. reason: what was found."""

    step: int
    reason: str
    view_name: str
    params: Mapping[str, Tensor]
    adam: AdamState
    hyper: AdamHyper
    view: View
    background: Tensor
    target: Tensor
    mask: Tensor | None
    ssim_weight: float
    settings: RasterSettings
    extent: float


@dataclass(frozen=True)
class ReplayReport:
    """What running the step again gave. bad_before, bad_after: what is wrong with the parameters before and after it,
    None where nothing is. image_finite: share of the rendering's values that are finite. largest_update: by parameter,
    the largest change of a value (nan where a value is not finite)."""

    step: int
    reason: str
    view_name: str
    backend: str
    num_splats: int
    loss: float
    loss_sound: bool
    image_finite: float
    bad_before: str | None
    bad_after: str | None
    largest_update: dict[str, float]

    def lines(self) -> list[str]:
        """For a terminal."""
        updates = ", ".join(f"{name} {value:.3g}" for name, value in self.largest_update.items())
        return [
            f"step {self.step} on photo {self.view_name!r}, {self.num_splats} splats, back end {self.backend}",
            f"stopped because: {self.reason}",
            f"parameters before: {self.bad_before or 'sound'}; after: {self.bad_after or 'sound'}",
            f"loss {self.loss:.6g}{'' if self.loss_sound else ' (not sound)'}; "
            f"{self.image_finite:.2%} of the rendering finite",
            f"largest change of a value: {updates}",
        ]


def write_dump(path: Path, inputs: StepInputs) -> None:
    """Write the inputs of a step to `path` (.safetensors), atomically."""
    tensors = {f"params.{name}": tensor for name, tensor in inputs.params.items()}
    tensors |= {f"adam.m.{name}": tensor for name, tensor in inputs.adam.m.items()}
    tensors |= {f"adam.v.{name}": tensor for name, tensor in inputs.adam.v.items()}
    tensors |= {"cam_from_world": inputs.view.cam_from_world, "intrinsics": inputs.view.intrinsics}
    tensors |= {"background": inputs.background, "target": inputs.target}
    if inputs.mask is not None:
        tensors["mask"] = inputs.mask
    record = {
        "kind": "step dump",
        "step": inputs.step,
        "reason": inputs.reason,
        "view_name": inputs.view_name,
        "adam_step": inputs.adam.step,
        "hyper": asdict(inputs.hyper),
        "ssim_weight": inputs.ssim_weight,
        "settings": asdict(inputs.settings),
        "extent": inputs.extent,
    }
    write_tensors(path, tensors, record)


def read_dump(path: Path) -> StepInputs:
    """Raises DataError where `path` is not a dump."""
    tensors, record = read_tensors(path)
    if record.get("kind") != "step dump":
        raise DataError(f"{path}: holds a {record.get('kind', 'file of another kind')!r}, not the dump of a step")
    settings = RasterSettings(**record["settings"])
    return StepInputs(
        step=record["step"],
        reason=record["reason"],
        view_name=record["view_name"],
        params={name: tensors[f"params.{name}"] for name in PARAMETER_NAMES},
        adam=AdamState(
            {name: tensors[f"adam.m.{name}"] for name in PARAMETER_NAMES},
            {name: tensors[f"adam.v.{name}"] for name in PARAMETER_NAMES},
            record["adam_step"],
        ),
        hyper=AdamHyper(**record["hyper"]),
        view=View(settings.width, settings.height, tensors["cam_from_world"], tensors["intrinsics"]),
        background=tensors["background"],
        target=tensors["target"],
        mask=tensors.get("mask"),
        ssim_weight=record["ssim_weight"],
        settings=settings,
        extent=record["extent"],
    )


def replay(path: Path, backend: str = "auto", threads: int = 0) -> ReplayReport:
    """Run the dumped step again and say what happens. Exposure, pose refinement, noise and training
    terms are not part of a dump."""
    inputs = read_dump(path)
    step, loss_of = splat_step(backend, threads), photometric(backend)
    params = {name: tensor.clone() for name, tensor in inputs.params.items()}
    rendering = step.render(params, inputs.view, inputs.background, inputs.settings)
    finite = float(torch.isfinite(rendering.image).double().mean())
    found = loss_of(rendering.image, inputs.target, inputs.mask, inputs.ssim_weight)
    step.backward_adam(params, inputs.adam, inputs.hyper, OutputGradients(found.v_image))
    updates = {name: _largest_change(params[name], inputs.params[name]) for name in PARAMETER_NAMES}
    return ReplayReport(
        step=inputs.step,
        reason=inputs.reason,
        view_name=inputs.view_name,
        backend=backend_name(backend),
        num_splats=params["means"].shape[0],
        loss=found.loss,
        loss_sound=is_sound_loss(found.loss),
        image_finite=finite,
        bad_before=find_bad(inputs.params, inputs.extent),
        bad_after=find_bad(params, inputs.extent),
        largest_update=updates,
    )


def _largest_change(after: Tensor, before: Tensor) -> float:
    if after.numel() == 0:
        return 0.0
    largest = float((after - before).abs().max())
    return largest if math.isfinite(largest) else math.nan
