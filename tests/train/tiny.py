# SPDX-License-Identifier: Apache-2.0
"""A scene small enough to train in a test: ten 64x64 photos that the reference rendered of 150 known splats."""

from __future__ import annotations

import math
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from sparse3d.camera import Camera
from sparse3d.depth.depth_map import DepthMap
from sparse3d.judge.pictures import KnownAlpha
from sparse3d.kernels.cpu.step import CpuSplatStep
from sparse3d.kernels.records import RasterSettings, View, view_of
from sparse3d.photos.photo import Photo
from sparse3d.photos.store import ImageStore
from sparse3d.records.points import Points
from sparse3d.records.scene import Scene
from sparse3d.render import RenderOptions, render
from sparse3d.splats import Splats
from sparse3d.start.init_splats import init_splats
from sparse3d.train import loop as loops
from sparse3d.train.config import TrainConfig
from sparse3d.train.events import Event
from sparse3d.train.loop import Around, Loop
from sparse3d.train.run_folder import RunFolder
from sparse3d.train.shots import Shot
from sparse3d.train.splats.terms.normal import normals_of, rays
from sparse3d.train.splats.trainee import SplatsFrom, SplatTrainee

SIZE_PX = 64
VIEWS = 10
# Held out; the other eight train.
TEST = (3, 7)
BACKGROUND = (0.0, 0.0, 0.0)


def true_splats(seed: int = 7) -> Splats:
    """150 coloured splats of several shapes in a ball of radius 1."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(low: float, high: float, *shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator) * (high - low) + low

    means = torch.randn(150, 3, generator=generator)
    means = means / means.norm(dim=1, keepdim=True) * uniform(0.1, 1.0, 150, 1)
    return Splats(
        means=means,
        quats_wxyz=torch.randn(150, 4, generator=generator),
        log_scales=uniform(math.log(0.06), math.log(0.25), 150, 3),
        logit_opacities=uniform(0.0, 4.0, 150),
        sh0=uniform(-1.5, 1.5, 150, 1, 3),
        shN=uniform(-0.1, 0.1, 150, 3, 3),
    )


def cameras() -> list[Camera]:
    """On two rings around the origin, looking at it."""
    out = []
    for i in range(VIEWS):
        angle = 2 * math.pi * i / VIEWS
        eye = np.array([3.2 * math.cos(angle), 0.9 if i % 2 else -0.4, 3.2 * math.sin(angle)])
        pose = looking_at_origin(eye)
        out.append(Camera(SIZE_PX, SIZE_PX, 72.0, 72.0, SIZE_PX / 2, SIZE_PX / 2, pose, name=f"{i:02d}.png"))
    return out


def looking_at_origin(eye: np.ndarray) -> np.ndarray:
    """[4,4] cam_from_world of a camera at `eye` [3]."""
    forward = -eye / np.linalg.norm(eye)
    right = np.cross(forward, [0.0, -1.0, 0.0])
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(forward, right), forward])
    pose[:3, 3] = -pose[:3, :3] @ eye
    return pose


def write_photos(folder: Path, *, masks: bool = False) -> None:
    """Render the photos to folder/NN.png, and folder/masks/NN.png where the splats cover the picture."""
    splats = true_splats()
    folder.mkdir(parents=True, exist_ok=True)
    for camera in cameras():
        seen = render(splats, camera, RenderOptions(BACKGROUND, backend="reference"))
        pixels = np.rint(seen.image.clamp(0, 1).numpy() * 255).astype(np.uint8)
        assert pixels.std() > 30, "the test picture is empty"
        Image.fromarray(pixels).save(folder / camera.name)
        if masks:
            (folder / "masks").mkdir(exist_ok=True)
            Image.fromarray((seen.alpha.numpy() > 0.5).astype(np.uint8) * 255).save(folder / "masks" / camera.name)


def scene(folder: Path, *, test: tuple[int, ...] = TEST, masks: bool = False) -> Scene:
    """The scene of photos that `write_photos` left, without points."""
    cams = cameras()
    photos = [
        Photo(
            camera.name,
            folder / camera.name,
            camera,
            mask_path=folder / "masks" / camera.name if masks else None,
            upright=True,
        )
        for camera in cams
    ]
    return Scene(
        kind="test",
        root=folder,
        names=tuple(camera.name for camera in cams),
        cameras=tuple(cams),
        images=ImageStore(photos, cams),
        train=tuple(i for i in range(VIEWS) if i not in test),
        test=test,
        has_masks=masks,
    )


def initial(count: int = 120) -> Splats:
    """Splats at noisy places of true ones, with a wrong colour: something to learn in every parameter."""
    rng = np.random.default_rng(3)
    true = true_splats()
    rows = rng.integers(0, true.num_splats, count)
    xyz = true.means.numpy()[rows] + rng.normal(0, 0.08, (count, 3))
    rgb = np.full((count, 3), 0.5)
    return init_splats(Points(xyz.astype(np.float32), rgb.astype(np.float32)), 1)


def depth_of(splats: Splats, scene: Scene, index: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Expected depth [H,W], alpha [H,W] and normals [3,H-2,W-2] of one photo's camera, as splats show them."""
    view = view_of(scene.cameras[index])
    settings = RasterSettings(view.width, view.height, sh_degree=1, depth=True)
    step = CpuSplatStep(1)
    out = step.render(dict(splats.named()), view, torch.zeros(3), settings)
    assert out.depth is not None
    z = out.depth / out.alpha.clamp(min=1e-3)
    return z, out.alpha.clone(), normals_of(rays(view) * z)[2]


def depth_maps(scene: Scene) -> dict[int, DepthMap]:
    """Of the training photos, as the true splats show them where they cover the picture."""
    maps = {}
    for index in scene.train:
        z, alpha, normal = depth_of(true_splats(), scene, index)
        known = alpha > 0.9
        normal = torch.nn.functional.pad(normal, (1, 1, 1, 1)) * known
        confidence = known.float()
        maps[index] = DepthMap(
            scene.cameras[index], (z * known).numpy(), confidence.numpy(), normal.permute(1, 2, 0).contiguous().numpy()
        )
    return maps


def train(
    scene: Scene, splats: Splats, cfg: TrainConfig, folder: RunFolder | None = None, **options: Any
) -> Generator[Event, None, Splats]:
    """`loop.train` on splats. options: depth_maps, hull, through, surfaces (of `SplatsFrom`); slot, stop, commands,
    lpips, notes (of `Around`); resume, learned."""
    make, around, rest = _sorted(splats, options)
    return loops.train(scene, make, cfg, folder, around=Around(**around), **rest)


def loop(scene: Scene, splats: Splats, cfg: TrainConfig, folder: RunFolder | None = None, **options: Any) -> Loop:
    return Loop(scene, _sorted(splats, options)[0], cfg, folder)


def trainee(running: Loop) -> SplatTrainee:
    assert isinstance(running.trainee, SplatTrainee)
    return running.trainee


def shot(
    view: View,
    *,
    progress: float = 0.0,
    position: int = 0,
    mask: torch.Tensor | None = None,
    known_alpha: KnownAlpha | None = None,
) -> Shot:
    """A shot without a photo, for what looks at none."""
    nothing = torch.zeros(view.height, view.width, 3)
    longest = max(view.width, view.height)
    return Shot(
        1, progress, position, "photo", view, nothing, mask, torch.zeros(3), 1, longest, False, known_alpha=known_alpha
    )


def _sorted(splats: Splats, options: dict[str, Any]) -> tuple[SplatsFrom, dict[str, Any], dict[str, Any]]:
    make = {name: options.pop(name) for name in ("depth_maps", "hull", "through", "surfaces") if name in options}
    around = {name: options.pop(name) for name in ("slot", "stop", "commands", "lpips", "notes") if name in options}
    return SplatsFrom(splats, **make), around, options
