# SPDX-License-Identifier: Apache-2.0
"""The training photos as the loop shows them: their order, size, background, exposure and pose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from sparse3d.depth.depth_map import DepthMap
from sparse3d.judge.background import evaluation_background, known_background
from sparse3d.judge.photos import JudgingPhotos, Learned
from sparse3d.judge.pictures import KnownAlpha, Pictures
from sparse3d.kernels.records import PhotometricLoss, View, view_of, with_pose
from sparse3d.kernels.step import Photometric
from sparse3d.photos.store import Window
from sparse3d.records.scene import Scene
from sparse3d.train.config import TrainConfig
from sparse3d.train.exposure import Exposure
from sparse3d.train.fine import FinePhotos, has_finer
from sparse3d.train.poses import CameraOpt, refines_poses
from sparse3d.train.schedule import ViewOrder, background_color, image_scale


@dataclass(frozen=True)
class Shot:
    """What one step looks at: a training photo.

    number: of the step, 1-based; progress: share of the run done before it, 0 to less than 1. position: of the photo
    within scene.train; name: for messages. target [H,W,3], mask [H,W] or None: what the rendering is compared with,
    read only. window: the part of the photo that view, target and mask are, None for all of it. background [3]: behind
    what is trained. longest_px: the longer side of the smallest photo at this step's
    scale. wants_pose: the pose learns from this step. known_alpha: what the photo says of
    alpha.
    """

    number: int
    progress: float
    position: int
    name: str
    view: View
    target: Tensor
    mask: Tensor | None
    background: Tensor
    scale: int
    longest_px: int
    wants_pose: bool
    window: Window | None = None
    known_alpha: KnownAlpha | None = None


class _Shown(NamedTuple):
    view: View
    target: Tensor
    mask: Tensor | None
    window: Window | None
    scale: int
    known_alpha: KnownAlpha | None


class TrainingPhotos:
    """The photos of one run and what it learns of them: exposures and poses.

    generators: "views" draws the order of the photos, "noise" random backgrounds, "windows" parts of photos. Several,
    so that the order of photos does not depend on how many random numbers density control drew.
    """

    def __init__(self, scene: Scene, cfg: TrainConfig, generators: Mapping[str, torch.Generator]) -> None:
        self.scene, self._cfg, self._noise = scene, cfg, generators["noise"]
        # One colour in every step, where that is known; else drawn or filled in.
        constant = cfg.background in ("auto", "mean")
        self._name = known_background(scene) if constant else cfg.background
        self._constant = evaluation_background(scene, cfg.background) if constant else None
        self.pictures = Pictures(scene, masks=cfg.masks, background=self._name)
        self._fine: FinePhotos | None = None
        if cfg.schedule.fine_from < 1.0 and has_finer(scene):
            self._fine = FinePhotos(scene, masks=cfg.masks, background=self._name, generator=generators["windows"])
        self.exposure = Exposure(len(scene.train), cfg.exposure) if cfg.exposure.enabled else None
        self.poses = (
            CameraOpt([scene.cameras[i] for i in scene.train], scene.extent, cfg.camera_opt)
            if refines_poses(cfg.camera_opt, scene.camera_source)
            else None
        )
        self.order = ViewOrder(len(scene.train), generators["views"])
        self._views: dict[tuple[int, int], View] = {}
        self._background = torch.zeros(3, device="cpu")
        self._smallest = min((scene.images.size(i) for i in scene.train), key=min)

    def next(self, number: int) -> Shot:
        """The photo of the step `number` (1-based)."""
        cfg = self._cfg
        progress = (number - 1) / cfg.steps
        background = self._step_background()
        position = self.order.next()
        show = self._show_fine if self._fine is not None and progress >= cfg.schedule.fine_from else self._show
        view, target, mask, window, scale, known_alpha = show(position, progress, background)
        if self.poses is not None:
            view = with_pose(view, self.poses.pose(position))
        return Shot(
            number, progress, position, self.scene.names[self.scene.train[position]], view, target, mask, background,
            scale, longest_px=max(self._smallest) // scale,
            wants_pose=self.poses is not None and progress >= cfg.camera_opt.start,
            window=window, known_alpha=known_alpha,
        )  # fmt: skip

    def view(self, position: int, scale: int) -> View:
        """The photo's camera as it was given."""
        key = (position, scale)
        if key not in self._views:
            self._views[key] = view_of(self.pictures.camera(position, scale))
        return self._views[key]

    def _show(self, position: int, progress: float, background: Tensor) -> _Shown:
        scale = image_scale(self._cfg.schedule, *self._smallest, progress)
        upcoming = self.order.peek()
        if upcoming is not None:
            self.pictures.prefetch(upcoming, scale)
        target, mask = self.pictures.target(position, scale, background)
        known_alpha = self.pictures.known_alpha(position, scale) if self._cfg.terms.outside > 0.0 else None
        return _Shown(self.view(position, scale), target, mask, None, scale, known_alpha)

    def _show_fine(self, position: int, progress: float, background: Tensor) -> _Shown:
        del progress
        fine = self._fine
        assert fine is not None
        upcoming = self.order.peek()
        if upcoming is not None:
            fine.prefetch(upcoming)
        window = fine.window(position)
        target, mask = fine.target(position, window, background)
        known_alpha = fine.known_alpha(position, window) if self._cfg.terms.outside > 0.0 else None
        return _Shown(fine.view(position, window), target, mask, window, 1, known_alpha)

    def loss(self, shot: Shot, image: Tensor, photometric: Photometric) -> tuple[PhotometricLoss, Tensor]:
        """The loss of a rendering of the shot's view, and its gradient to that image [H,W,3]; the photo's exposure,
        where exposures are learned, takes its step."""
        shown = image if self.exposure is None else self.exposure.apply(shot.position, image)
        found = photometric(shown, shot.target, shot.mask, self._cfg.ssim_weight)
        if self.exposure is None:
            return found, found.v_image
        return found, self.exposure.backward(shot.position, image, found.v_image)

    def judges(self, *, scale: int, most: int, depths: Mapping[int, DepthMap]) -> JudgingPhotos:
        """At most `most` of the photos as judges, with cameras and exposures as they are now."""
        learned = Learned(
            None if self.poses is None else self.poses.poses,
            None if self.exposure is None else self.exposure.values,
        )
        background = evaluation_background(self.scene, self._cfg.background)
        # Pictures of their own: at another scale they would push out those that training keeps.
        pictures = Pictures(self.scene, masks=self._cfg.masks, background=self._name)
        return JudgingPhotos(pictures, background, scale, most, depths, learned)

    def tensors(self) -> dict[str, Tensor]:
        """What was learned, for the checkpoint."""
        return {
            name: t for part in (self.exposure, self.poses) if part is not None for name, t in part.tensors().items()
        }

    def restore(self, tensors: Mapping[str, Tensor], *, partly: bool = False) -> None:
        """Take back what `tensors` gave; partly: what an earlier run on the same photos has learned, where it has."""
        if self.exposure is not None and not (partly and "exposure.values" not in tensors):
            self.exposure.restore(dict(tensors))
        if self.poses is not None and not (partly and "cameras.poses" not in tensors):
            self.poses.restore(dict(tensors))

    def _step_background(self) -> Tensor:
        if self._constant is not None:
            return self._background.copy_(self._constant)
        return background_color(self._name, self._noise, self._background)
