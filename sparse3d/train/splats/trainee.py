# SPDX-License-Identifier: Apache-2.0
"""Gaussian splats as what a run trains: parameters, optimiser, density control, terms, removals, safety."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sparse3d.camera import Camera
from sparse3d.depth.depth_map import DepthMap
from sparse3d.errors import DataError, UsageError
from sparse3d.judge.air import Air
from sparse3d.judge.floaters import Region
from sparse3d.kernels.records import (
    AdamHyper,
    AdamState,
    DensityStats,
    OutputGradients,
    RasterSettings,
    View,
    view_of,
)
from sparse3d.kernels.step import StepRendering, backend_name, splat_step
from sparse3d.records.scene import Scene
from sparse3d.splats import PARAMETER_NAMES, Splats
from sparse3d.start.find import Start
from sparse3d.train.commands import Allow, Command, Delete, DeleteRegion, KeepOut, SetDensity, SetRates
from sparse3d.train.config import TrainConfig
from sparse3d.train.events import Cleaned, Densified, Event
from sparse3d.train.shots import Shot
from sparse3d.train.splats import schedule
from sparse3d.train.splats.density import POLICIES, RefineContext
from sparse3d.train.splats.density.policy import DensityUpdate
from sparse3d.train.splats.dump import StepInputs, write_dump
from sparse3d.train.splats.follow import follow
from sparse3d.train.splats.lineage import Lineage
from sparse3d.train.splats.removal import FloaterRemoval, OutsideRemoval, without
from sparse3d.train.splats.safety import find_bad
from sparse3d.train.splats.steer import KEEP_OUT_EVERY, Steering, check_region, within
from sparse3d.train.splats.straight_through import StraightThrough
from sparse3d.train.splats.terms.active import ActiveTerms
from sparse3d.train.splats.terms.term import TermSetup
from sparse3d.train.trainee import Trainee, TraineeSetup


@dataclass(frozen=True)
class SplatsFrom:
    """Makes the trainee of a run on splats.

    splats: to begin with. depth_maps: by index in the scene, for the terms that use them. hull: outside of it
    cfg.floaters removes everything. surfaces [N,3]: points of what photos show, for the air around the cameras.
    through: each step shows the splats as this makes them and updates them as they
    are.
    """

    splats: Splats
    depth_maps: Mapping[int, DepthMap] = field(default_factory=dict)
    hull: Region | None = None
    through: StraightThrough | None = None
    surfaces: NDArray[np.float32] | None = None

    @classmethod
    def start(cls, start: Start, cfg: TrainConfig) -> SplatsFrom:
        splats = start.splats(cfg.sh_degree, opacity=cfg.initial_opacity, seed=cfg.seed)
        return cls(splats, start.depth_maps, start.hull, surfaces=start.surfaces)

    def __call__(self, setup: TraineeSetup) -> SplatTrainee:
        return SplatTrainee(self, setup)


@dataclass(frozen=True)
class _Step:
    """The step under way. shown: the parameters that were rendered; at: where the gradient is taken, if not at the
    parameters themselves."""

    settings: RasterSettings
    hyper: AdamHyper
    shown: Mapping[str, Tensor]
    at: Mapping[str, Tensor] | None
    rendering: StepRendering


def _air(scene: Scene, begin: SplatsFrom) -> Air | None:
    if begin.surfaces is None:
        return None
    return Air.around([scene.cameras[i] for i in scene.train], begin.surfaces)


class SplatTrainee(Trainee):
    """The changing state of one run on splats."""

    counted = "splats"

    def __init__(self, begin: SplatsFrom, setup: TraineeSetup) -> None:
        scene, cfg, splats = setup.scene, setup.cfg, begin.splats
        if splats.num_splats == 0:
            raise DataError(f"{scene.root}: there are no initial splats to train")
        self._cfg, self._extent, self._noise = cfg, scene.extent, setup.generators["noise"]
        self._through = begin.through
        self._sh_degree = min(cfg.sh_degree, splats.sh_degree)
        self.backend = backend_name(cfg.backend)
        self._kernels = splat_step(cfg.backend, cfg.threads)
        self._policy = POLICIES[cfg.density.policy](cfg.density, self._extent)
        self.params = {name: tensor.detach().float().contiguous().clone() for name, tensor in splats.named()}
        self.adam = AdamState.zeros(self.params)
        self.stats = DensityStats.zeros(splats.num_splats, splats.means.device)
        self._terms = ActiveTerms(TermSetup(cfg.terms, scene, cfg.steps, setup.generators["terms"], begin.depth_maps))
        self._removals = (
            OutsideRemoval.of_hull(cfg, begin.hull),
            OutsideRemoval.of_air(cfg, _air(setup.scene, begin)),
            FloaterRemoval(setup.photos, cfg, begin.depth_maps, begin.hull),
        )
        self._step: _Step | None = None
        self._steering, self._lineage = Steering(), Lineage()

    @property
    def count(self) -> int:
        return self.params["means"].shape[0]

    def render(self, shot: Shot) -> StepRendering:
        cfg = self._cfg
        # Only photos drive densification, and only while splats are added.
        stats = self._policy.wants_stats and shot.number <= cfg.density.stop * cfg.steps
        degree = schedule.sh_degree(cfg.schedule, self._sh_degree, shot.progress)
        settings = raster_settings(shot.view, cfg, degree, stats=stats, depth=self._terms.needs_depth(shot.position))
        opacity_reg, scale_reg = self._policy.regularisers
        rates = schedule.learning_rates(cfg.rates, self._extent, shot.progress)
        hyper = AdamHyper(lr=rates, opacity_reg=opacity_reg, scale_reg=scale_reg)
        at = None if self._through is None else self._through.shown(self.params, cfg.antialias)
        shown = self._terms.before_render(shot, self.params, self.adam, at)
        rendering = self._kernels.render(shown, shot.view, shot.background, settings)
        self._step = _Step(settings, hyper, shown, at, rendering)
        return rendering

    def step(self, shot: Shot, v_image: Tensor) -> Tensor | None:
        step = self._under_way
        gradients = OutputGradients(v_image)
        self._terms.add_gradients(shot, step.rendering, gradients)
        v_pose = self._kernels.backward_adam(
            self.params, self.adam, step.hyper, gradients,
            stats=self.stats if step.settings.stats else None, camera=shot.wants_pose, at=step.at,
        )  # fmt: skip
        self._terms.after_step(shot, self.params, self.adam)
        self._policy.after_step(self.params, step.hyper.lr["means"], self._noise)
        return v_pose

    def refine(self, shot: Shot) -> list[Event]:
        cfg, number = self._cfg, shot.number
        events: list[Event] = []
        if schedule.is_refine_step(cfg.density, number, cfg.steps):
            update = self._densify(shot)
            if update is not None:
                events.append(Densified(number, self.count, self.counted, update.added, update.removed, update.moved))
        for removal in self._removals:
            if removal.due(number):
                found = removal.find(Splats.of(self.params, antialias=cfg.antialias))
                if found.update is not None:
                    self._remove(found.update)
                events.append(Cleaned(number, self.count, self.counted, found.counts, found.kept))
        if self._steering.regions and (events or number % KEEP_OUT_EVERY == 0 or number == cfg.steps):
            events += self._hold_off(number)
        return events

    def _hold_off(self, number: int) -> list[Event]:
        """Remove what came into a region that is kept out. Where that is every splat, all stay."""
        inside = self._steering.inside(self.params["means"])
        found = int(inside.sum())
        if found == 0:
            return []
        kept = found == self.count
        if not kept:
            self._delete(inside)
        return [Cleaned(number, self.count, self.counted, {"kept out": found}, kept)]

    @property
    def changes(self) -> int:
        return self._lineage.changes

    def remember(self) -> None:
        self._lineage.remember()

    def obey(self, command: Command) -> str:
        if isinstance(command, (SetRates, SetDensity)):
            return self._change(command)
        if isinstance(command, Delete):
            return self._delete(self._lineage.now(command.rows, command.changes, self.count))
        if isinstance(command, DeleteRegion):
            return self._delete(within(check_region(command.region), self.params["means"]))
        if isinstance(command, KeepOut):
            inside = within(check_region(command.region), self.params["means"])
            said = self._delete(inside) if bool(inside.any()) else "nothing is there now"
            self._steering.keep_out(command.region)
            return f"{said}; nothing will grow there"
        if isinstance(command, Allow):
            self._steering.allow(command.region)
            return "splats may grow there again"
        return super().obey(command)

    def _change(self, command: SetRates | SetDensity) -> str:
        self._cfg = self._steering.change(self._cfg, command.name, command.values)
        self._policy = POLICIES[self._cfg.density.policy](self._cfg.density, self._extent)
        told = ", ".join(f"{name} {value}" for name, value in command.asked().items())
        return f"from the next step on, {command.name}: {told}"

    def _delete(self, remove: Tensor) -> str:
        """Raises UsageError where that is none of the splats, or all."""
        number = int(remove.sum())
        if number == 0:
            raise UsageError("none of the splats that there are was meant, so nothing was deleted")
        if number == self.count:
            raise UsageError(f"that would delete all {number:,} splats; leave some to train")
        update = without(Splats.of(self.params, antialias=self._cfg.antialias), remove)
        assert update is not None
        self._remove(update)
        return f"deleted {number:,} of {number + self.count:,} splats"

    def _remove(self, update: DensityUpdate) -> None:
        self.stats = self.stats.select(update.source_row)
        self._take(update)

    def _densify(self, shot: Shot) -> DensityUpdate | None:
        cfg = self._cfg
        context = RefineContext(
            step=shot.number,
            steps=cfg.steps,
            interval=schedule.refine_interval(cfg.density, cfg.steps),
            extent=self._extent,
            image_side_px=shot.longest_px,
        )
        update = self._policy.step(self.params, self.stats, context, self._noise)
        if update is not None:
            self._take(update)
        self.stats = DensityStats.zeros(self.count, self.params["means"].device)
        return update

    def _take(self, update: DensityUpdate) -> None:
        self._lineage.add(self.count, update.source_row)
        self.adam, self.params = follow(self.adam, update), update.params
        self._terms.after_refine(self.params)

    def check(self) -> str | None:
        return find_bad(self.params, self._extent)

    def dump(self, path: Path, shot: Shot, reason: str) -> None:
        step = self._under_way
        inputs = StepInputs(
            step=shot.number, reason=reason, view_name=shot.name, params=self.params, adam=self.adam, hyper=step.hyper,
            view=shot.view, background=shot.background, target=shot.target, mask=shot.mask,
            ssim_weight=self._cfg.ssim_weight, settings=step.settings, extent=self._extent,
        )  # fmt: skip
        write_dump(path, inputs)

    def picture(self, camera: Camera, background: Tensor) -> Tensor:
        view = view_of(camera)
        settings = raster_settings(view, self._cfg, self._sh_degree)
        return self._kernels.render(self.params, view, background, settings).image

    def snapshot(self) -> Splats:
        params = {name: tensor.clone() for name, tensor in self.params.items()}
        return Splats.of(params, antialias=self._cfg.antialias)

    def details(self) -> dict[str, float]:
        return {"sh_degree": self._under_way.settings.sh_degree}

    def tensors(self) -> dict[str, Tensor]:
        out = {f"params.{name}": tensor for name, tensor in self.params.items()}
        out |= {f"adam.m.{name}": tensor for name, tensor in self.adam.m.items()}
        out |= {f"adam.v.{name}": tensor for name, tensor in self.adam.v.items()}
        out |= {f"stats.{name}": tensor for name, tensor in vars(self.stats).items()}
        return out | {f"terms.{name}": tensor for name, tensor in self._terms.tensors().items()}

    def state(self) -> dict[str, Any]:
        state = {"adam_step": self.adam.step, "num_splats": self.count, "antialias": self._cfg.antialias}
        steered = self._steering.state()
        return state | {"steered": steered} if steered else state

    def restore(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        def group(prefix: str, names: tuple[str, ...]) -> dict[str, Tensor]:
            return {name: tensors[prefix + name] for name in names}

        self.params = group("params.", PARAMETER_NAMES)
        self.adam = AdamState(
            group("adam.m.", PARAMETER_NAMES), group("adam.v.", PARAMETER_NAMES), int(state["adam_step"])
        )
        self.stats = DensityStats(**group("stats.", tuple(vars(self.stats))))
        mine = {name.removeprefix("terms."): t for name, t in tensors.items() if name.startswith("terms.")}
        self._terms.restore(mine)
        self._cfg = self._steering.restore(self._cfg, state.get("steered", {}))
        self._policy = POLICIES[self._cfg.density.policy](self._cfg.density, self._extent)

    @property
    def _under_way(self) -> _Step:
        assert self._step is not None, "a step begins with render"
        return self._step


def raster_settings(
    view: View, cfg: TrainConfig, sh_degree: int, *, stats: bool = False, depth: bool = False
) -> RasterSettings:
    return RasterSettings(
        view.width, view.height, sh_degree=sh_degree, antialias=cfg.antialias, stats=stats, depth=depth
    )
