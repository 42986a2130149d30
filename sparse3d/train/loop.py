# SPDX-License-Identifier: Apache-2.0
"""The training loop: a generator of events that knows none of its readers."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Generator, Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from sparse3d.camera import Camera
from sparse3d.depth.depth_map import DepthMap
from sparse3d.errors import DataError
from sparse3d.judge.background import evaluation_background
from sparse3d.judge.evaluate import Scores, evaluate
from sparse3d.judge.floaters import Region
from sparse3d.judge.pictures import TrainViews
from sparse3d.kernels.records import AdamHyper, AdamState, DensityStats, RasterSettings, view_of
from sparse3d.kernels.step import make_step
from sparse3d.live import Slot
from sparse3d.loss import Lpips
from sparse3d.records.scene import Scene
from sparse3d.splats import Splats
from sparse3d.train import checkpoint as checkpoints
from sparse3d.train import schedule
from sparse3d.train.clock import Clock
from sparse3d.train.config import TrainConfig, binding_values, check_resumable
from sparse3d.train.events import Cleaned, Densified, Evaluated, Event, Finished, Saved, Started, Stepped
from sparse3d.train.exposure import Exposure
from sparse3d.train.poses import CameraOpt, refines_poses
from sparse3d.train.run_folder import RunFolder
from sparse3d.train.safety import is_sound_loss
from sparse3d.train.shots import Shot, ShotPlan
from sparse3d.train.splats import schedule as splat_schedule
from sparse3d.train.splats.density import POLICIES, RefineContext
from sparse3d.train.splats.dump import StepInputs, diverged
from sparse3d.train.splats.follow import follow
from sparse3d.train.splats.outside import OutsideRemoval
from sparse3d.train.splats.removal import FloaterRemoval, Removed
from sparse3d.train.splats.safety import find_bad
from sparse3d.train.splats.straight_through import StraightThrough
from sparse3d.train.splats.terms.active import ActiveTerms
from sparse3d.train.splats.terms.term import TermSetup, TermStep
from sparse3d.train.splats.trainee import raster_settings


def train(
    scene: Scene,
    splats: Splats,
    cfg: TrainConfig,
    run_folder: RunFolder | None,
    *,
    resume: bool = False,
    slot: Slot[Splats] | None = None,
    stop: threading.Event | None = None,
    lpips: Lpips | None = None,
    notes: tuple[str, ...] = (),
    depth_maps: Mapping[int, DepthMap] = MappingProxyType({}),
    hull: Region | None = None,
    through: StraightThrough | None = None,
    parts: Mapping[str, Tensor] = MappingProxyType({}),
) -> Generator[Event, None, Splats]:
    """Train `splats` on the scene's training photos; yields events and returns the trained splats.

    resume: go on from the folder's checkpoint where there is one (`splats` is then unused); the result has the same
    bits as that of an unbroken run. stop: when set, the step under way is finished, a checkpoint saved, and the run
    ends with Finished("stopped"). slot: gets a copy of the splats at intervals and at the end. run_folder None:
    nothing is written. depth_maps: by index in the scene, for the cfg.terms that use them; hull: outside of it
    cfg.floaters removes everything. A resumed run must be given the same ones. through: each step shows the splats as
    this makes them and updates them as they are. parts: what an earlier run has learned beside the splats (its
    checkpoint's `extra`).
    Raises DataError without training photos, UsageError where settings differ from the checkpoint's, DivergedError, and
    DiskFullError with the files of before still whole.
    """
    run = Run(scene, splats, cfg, run_folder, depth_maps, hull, through)
    run.restore_parts(parts)
    if resume and run_folder is not None and checkpoints.exists(run_folder.path):
        run.restore(checkpoints.load(run_folder.path))
    first_view = run.views.view(0, 1)
    yield Started(
        run.step, cfg.steps, run.num_splats, len(scene.train), len(scene.test), run.backend, cfg.threads,
        first_view.width, first_view.height, notes,
    )  # fmt: skip
    run.clock.start()
    try:
        while run.step < cfg.steps and not (stop is not None and stop.is_set()):
            yield from run.advance(slot, lpips)
    except KeyboardInterrupt:
        # Inside a step the state is half changed: the last checkpoint stays the one to resume from.
        if run_folder is not None and not run.in_step:
            run.save()
        raise
    completed = run.step >= cfg.steps
    run.clock.pause()
    if run_folder is not None:
        yield Saved(run.step, "checkpoint", run.save())
    result = run.snapshot()
    if slot is not None:
        slot.put(result)
    if completed:
        yield run.evaluate(lpips, final=True)
    yield Finished(
        run.step, "completed" if completed else "stopped", run.num_splats, run.clock.seconds, run.clock.seconds_eval
    )
    return result


class Run:
    """The changing state of one run. Internal to the trainer, which alone changes it."""

    def __init__(
        self,
        scene: Scene,
        splats: Splats,
        cfg: TrainConfig,
        run_folder: RunFolder | None,
        depth_maps: Mapping[int, DepthMap] = MappingProxyType({}),
        hull: Region | None = None,
        through: StraightThrough | None = None,
    ) -> None:
        if not scene.train:
            raise DataError(f"{scene.root}: there is no photo to train on; all are held out or none was found")
        if splats.num_splats == 0:
            raise DataError(f"{scene.root}: there are no initial splats to train")
        self.scene, self.cfg, self.folder = scene, cfg, run_folder
        self.sh_degree = min(cfg.sh_degree, splats.sh_degree)
        self.extent = scene.extent
        self.views = TrainViews(scene, cfg)
        self.kernels, self.backend = make_step(cfg.backend, cfg.threads)
        self.policy = POLICIES[cfg.density.policy](cfg.density)
        self.params = {name: tensor.detach().float().contiguous().clone() for name, tensor in splats.named()}
        self.adam = AdamState.zeros(self.params)
        self.stats = DensityStats.zeros(splats.num_splats)
        # Several generators: the order of photos does not depend on how many random numbers density control drew.
        self.generators = {
            "views": torch.Generator().manual_seed(cfg.seed),
            "noise": torch.Generator().manual_seed(cfg.seed + 0x5EED),
            "terms": torch.Generator().manual_seed(cfg.seed + 0x7E2A),
        }
        self.order = schedule.ViewOrder(len(scene.train), self.generators["views"])
        self.exposure = Exposure(len(scene.train), cfg.exposure) if cfg.exposure.enabled else None
        self.camera_opt = (
            CameraOpt([scene.cameras[i] for i in scene.train], self.extent, cfg.camera_opt)
            if refines_poses(cfg.camera_opt, scene.camera_source)
            else None
        )
        self.terms = ActiveTerms(TermSetup(cfg.terms, scene, cfg.steps, self.generators["terms"], depth_maps))
        self.shots = ShotPlan(scene, self.views, self.order, self.exposure, self.camera_opt)
        self.removal = FloaterRemoval(scene, cfg, depth_maps, hull)
        self.outside = OutsideRemoval(cfg, hull)
        self.through = through
        self.background = torch.zeros(3)
        self.step = 0
        self.in_step = False
        self.clock = Clock()
        self._smallest = min((scene.images.size(i) for i in scene.train), key=min)
        self._losses: list[float] = []
        self._last_check = 0

    @property
    def num_splats(self) -> int:
        return self.params["means"].shape[0]

    def snapshot(self) -> Splats:
        return Splats(**{name: tensor.clone() for name, tensor in self.params.items()}, antialias=self.cfg.antialias)

    def advance(self, slot: Slot[Splats] | None, lpips: Lpips | None) -> Generator[Event, None, None]:
        """One step and what is due after it."""
        cfg = self.cfg
        self.in_step = True
        report = self._train_step()
        densified = self._refine() if splat_schedule.is_refine_step(cfg.density, self.step, cfg.steps) else None
        cleaned = list(self._clean())
        due = cfg.check_every > 0 and self.step % cfg.check_every == 0
        if due or densified is not None or cleaned or self.step == cfg.steps:
            self._check()
        self.in_step = False
        if densified is not None:
            yield densified
        yield from cleaned
        if report is not None:
            yield report
        if slot is not None and cfg.snapshot_every > 0 and self.step % cfg.snapshot_every == 0:
            slot.put(self.snapshot())
        if self.step == cfg.steps:
            return
        if self.folder is not None and cfg.checkpoint_every > 0 and self.step % cfg.checkpoint_every == 0:
            yield Saved(self.step, "checkpoint", self.save())
        if cfg.eval_every > 0 and self.step % cfg.eval_every == 0:
            self.clock.pause()
            yield self.evaluate(lpips, final=False)
            self.clock.start()

    def _train_step(self) -> Stepped | None:
        cfg = self.cfg
        progress = self.step / cfg.steps
        number = self.step + 1
        scale = schedule.image_scale(cfg.schedule, *self._smallest, progress)
        degree = splat_schedule.sh_degree(cfg.schedule, self.sh_degree, progress)
        self.views.step_background(self.generators["noise"], self.background)
        shot = self.shots.next(scale, self.background)
        photo, view = shot.position, shot.view
        wants_stats = self.policy.wants_stats and number <= cfg.density.stop * cfg.steps
        settings = raster_settings(view, cfg, degree, stats=wants_stats, depth=self.terms.needs_depth(photo))
        rates = splat_schedule.learning_rates(cfg.rates, self.extent, progress)
        opacity_reg, scale_reg = self.policy.regularisers
        hyper = AdamHyper(lr=rates, opacity_reg=opacity_reg, scale_reg=scale_reg)

        under_way = TermStep(progress, photo, view, shot.mask)
        at = None if self.through is None else self.through.shown(self.params, cfg.antialias)
        shown = self.terms.before_render(under_way, self.params, self.adam, at)
        rendering = self.kernels.render(shown, view.cam_from_world, view.intrinsics, self.background, settings)
        loss, v = shot.loss(self.kernels, rendering, cfg.ssim_weight)
        if not is_sound_loss(loss):
            self._diverged(f"the loss is {loss:g}", number, shot, settings, hyper)
        report = self._report(number, loss, degree, scale)
        self.terms.add_gradients(under_way, rendering, v)
        refine_pose = self.camera_opt is not None and progress >= cfg.camera_opt.start
        camera_grad = self.kernels.backward_adam(
            self.params, self.adam, hyper, v_image=v.image, v_alpha=v.alpha, v_depth=v.depth,
            stats=self.stats if wants_stats else None, camera_grad=refine_pose, at=at,
        )  # fmt: skip
        if self.camera_opt is not None and camera_grad is not None:
            self.camera_opt.step(photo, camera_grad)
        self.terms.after_step(under_way, self.params, self.adam)
        self.policy.after_step(self.params, rates["means"], self.generators["noise"])
        self.step = number
        self._last = (shot, settings, hyper)
        return report

    def _report(self, number: int, loss: float, degree: int, scale: int) -> Stepped | None:
        psnr = -10.0 * math.log10(max(self.kernels.last.squared_error, 1e-12))
        self._losses.append(loss)
        if number % self.cfg.report_every and number != self.cfg.steps:
            return None
        loss = math.fsum(self._losses) / len(self._losses)
        self._losses = []
        return Stepped(
            number, self.cfg.steps, loss, psnr, self.num_splats, self.clock.seconds, sh_degree=degree, image_scale=scale
        )

    def _refine(self) -> Densified | None:
        cfg = self.cfg
        width, height = self._smallest
        scale = schedule.image_scale(cfg.schedule, width, height, (self.step - 1) / cfg.steps)
        context = RefineContext(
            step=self.step,
            steps=cfg.steps,
            interval=splat_schedule.refine_interval(cfg.density, cfg.steps),
            extent=self.extent,
            image_side_px=max(width, height) // scale,
        )
        update = self.policy.step(self.params, self.stats, context, self.generators["noise"])
        if update is not None:
            self.adam = follow(self.adam, update)
            self.params = update.params
            self.terms.after_refine(self.params)
        self.stats = DensityStats.zeros(self.num_splats)
        if update is None:
            return None
        return Densified(self.step, self.num_splats, update.added, update.removed, update.moved)

    def _clean(self) -> Generator[Cleaned, None, None]:
        """The removals due after this step."""
        if self.outside.due(self.step):
            yield self._cleaned(self.outside.apply(self.params, self.adam, self.stats))
        if self.removal.due(self.step):
            yield self._cleaned(
                self.removal.apply(self.params, self.adam, self.stats, self.exposure, self.camera_opt)
            )  # fmt: skip

    def _cleaned(self, done: Removed) -> Cleaned:
        if done.params is not self.params:
            self.params, self.adam, self.stats = done.params, done.adam, done.stats
            self.terms.after_refine(self.params)
        return Cleaned(self.step, self.num_splats, done.counts, done.kept)

    def _check(self) -> None:
        bad = find_bad(self.params, self.extent)
        if bad is not None:
            reason = f"after step {self.step}, {bad} (all was sound after step {self._last_check})"
            self._diverged(reason, self.step, *self._last)
        self._last_check = self.step

    def _diverged(self, reason: str, number: int, shot: Shot, settings: RasterSettings, hyper: AdamHyper) -> None:
        """Write a dump and raise DivergedError."""
        inputs = StepInputs(
            step=number, reason=reason, view_name=shot.name, params=self.params, adam=self.adam, hyper=hyper,
            cam_from_world=shot.view.cam_from_world, intrinsics=shot.view.intrinsics, background=self.background,
            target=shot.target, mask=shot.mask, ssim_weight=self.cfg.ssim_weight, settings=settings,
            extent=self.extent,
        )  # fmt: skip
        raise diverged(inputs, self.cfg.steps, self.folder)

    def evaluate(self, lpips: Lpips | None, *, final: bool) -> Evaluated:
        """Scores on the held-out photos. Changes nothing that training reads."""
        began = time.perf_counter()
        scores: Scores = evaluate(self.scene, self.scene.test, self.render_image, lpips)
        self.clock.seconds_eval += time.perf_counter() - began
        return Evaluated(
            self.step, scores.psnr, scores.ssim, scores.lpips, self.num_splats, self.clock.seconds,
            self.clock.seconds_eval, final, scores.psnr_full, scores.ssim_full, scores.per_view,
        )  # fmt: skip

    def render_image(self, camera: Camera) -> Tensor:
        """The image [H,W,3] of a camera at full size, in a buffer that the next rendering reuses."""
        view = view_of(camera)
        background = evaluation_background(self.scene, self.cfg)
        settings = raster_settings(view, self.cfg, self.sh_degree)
        return self.kernels.render(self.params, view.cam_from_world, view.intrinsics, background, settings).image

    def save(self):
        """Write the checkpoint; returns its path."""
        assert self.folder is not None
        extra: dict[str, Tensor] = {}
        for part in (self.exposure, self.camera_opt, self.terms):
            extra |= {} if part is None else part.tensors()
        return checkpoints.save(
            self.folder.path,
            checkpoints.Checkpoint(
                step=self.step,
                params=self.params,
                adam=self.adam,
                stats=self.stats,
                generators={name: generator.get_state() for name, generator in self.generators.items()},
                order=self.order.state(),
                config=binding_values(self.cfg),
                names=[self.scene.names[i] for i in self.scene.train],
                antialias=self.cfg.antialias,
                seconds=self.clock.seconds,
                seconds_eval=self.clock.seconds_eval,
                extra=extra,
            ),
        )

    def restore_parts(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over exposures and poses of an earlier run on the same photos, where this one has them too."""
        if self.exposure is not None and "exposure.values" in tensors:
            self.exposure.restore(dict(tensors))
        if self.camera_opt is not None and "cameras.poses" in tensors:
            self.camera_opt.restore(dict(tensors))

    def restore(self, found: checkpoints.Checkpoint) -> None:
        where = str(self.folder.path) if self.folder is not None else "checkpoint"
        check_resumable(found.config, self.cfg, where)
        names = [self.scene.names[i] for i in self.scene.train]
        if names != found.names:
            raise DataError(
                f"{where}: the run was begun on {len(found.names)} training photos, the scene now has {len(names)} or "
                "others; restore the photos, or start again with --overwrite"
            )
        self.step, self.params, self.adam, self.stats = found.step, found.params, found.adam, found.stats
        for name, generator in self.generators.items():
            generator.set_state(found.generators[name])
        self.order.restore(found.order)
        for part in (self.exposure, self.camera_opt, self.terms):
            if part is not None:
                part.restore(found.extra)
        self.clock.restore(found.seconds, found.seconds_eval)
        self._last_check = found.step
