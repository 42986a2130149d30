# SPDX-License-Identifier: Apache-2.0
"""What is exported: splats, and the photos or at least the cameras to judge and train by."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from sparse3d import formats
from sparse3d.camera import Camera
from sparse3d.compress.importance import Importance, Measuring, importance
from sparse3d.compress.prune import finite_rows
from sparse3d.compress.sampled_cameras import sample_cameras
from sparse3d.errors import DataError
from sparse3d.export.run_photos import RunPhotos, open_run_photos
from sparse3d.formats.folder import find_folder_format
from sparse3d.geometry.places import Origin
from sparse3d.load.config import SceneConfig
from sparse3d.load.scene import find_kind, load_scene
from sparse3d.records.frame import Frame, frame_of_splats
from sparse3d.runs.finished import FinishedRun, is_run, splat_file
from sparse3d.splats import Splats
from sparse3d.train.config import TrainConfig

# Views that judge a candidate, and of which importance without photos is measured.
_VIEWS = 24


@dataclass(frozen=True)
class Source:
    """Splats from `path` (a file), and what is known of where they were photographed from.

    photos: None where there are none, and then `without` says why, one sentence. cameras: of the training photos, or of
    the run without its photos, or sampled around the scene (`found` names which). background [3]: behind the splats.
    notes: sentences about rows of the file that were left out. frame: the one that splats and cameras are in; origin:
    that of the file's world.
    """

    path: Path
    splats: Splats
    bytes: int
    photos: RunPhotos | None
    without: str
    cameras: tuple[Camera, ...]
    found: str
    background: Tensor
    notes: tuple[str, ...] = ()
    frame: Frame = Frame()  # noqa: RUF009 - frozen
    origin: Origin = (0.0, 0.0, 0.0)

    def weights(self, splats: Splats, progress: Callable[[float], None] | None = None) -> Importance:
        """What `splats` weigh in the views of `cameras`; the measures that need probes are not taken."""
        how = Measuring(self.background, probes=0, backend=self.backend, progress=progress)
        return importance(splats, self.cameras, how)

    @property
    def backend(self) -> str | None:
        """None: chosen by the device."""
        return None if self.photos is None or self.photos.train.backend == "auto" else self.photos.train.backend


@contextlib.contextmanager
def open_source(path: Path, scene: Path | None = None, *, drop_invalid: bool = False) -> Iterator[Source]:
    """Open a run folder, a file of splats or a SOG folder; `scene`: its photos with cameras, in the splats' frame.

    A run whose photos have gone is judged by its cameras; a file by cameras sampled around its scene. Raises DataError
    for what is neither, and for a `scene` that cannot be used.
    """
    file = splat_file(path)
    read, notes = formats.read_with_notes(file, drop_invalid=drop_invalid)
    splats = _finite(read, file)
    size = _bytes_of(file)
    with contextlib.ExitStack() as stack:
        photos, without = None, "no photos are known (give their scene with --scene)"
        if is_run(path):
            try:
                photos = stack.enter_context(open_run_photos(FinishedRun.open(path), scene))
            except DataError as error:
                if scene is not None:
                    raise
                without = str(error)
        elif scene is not None:
            photos = stack.enter_context(_photos_of(scene, splats))
        if photos is not None and not photos.cameras:
            photos, without = None, "the scene has no training photo"
        if photos is not None:
            found = f"{len(photos.cameras)} training photos"
            frame = photos.scene.frame
            yield Source(
                file, frame.splats_in(splats), size, photos, "", tuple(photos.cameras), found, photos.background, notes,
                frame, splats.origin,
            )  # fmt: skip
            return
        frame = frame_of_splats(splats)
        inside = frame.splats_in(splats)
        cameras, found = _cameras_without_photos(path, inside, frame)
        yield Source(
            file, inside, size, None, without, tuple(cameras), found, torch.zeros(3), notes, frame, splats.origin
        )


def spread(items: Sequence[int], count: int) -> list[int]:
    """`count` of them at even distances; all where there are no more."""
    if len(items) <= count:
        return list(items)
    return [items[(2 * k + 1) * len(items) // (2 * count)] for k in range(count)]


def _bytes_of(file: Path) -> int:
    folder = file if file.is_dir() else file.parent if find_folder_format(file) is not None else None
    if folder is None:
        return file.stat().st_size
    return sum(part.stat().st_size for part in folder.iterdir() if part.is_file())


def _finite(splats: Splats, file: Path) -> Splats:
    """Without splats that have anything not finite but opacities of exactly 0 or 1 and flat scales."""
    bounded = replace(
        splats,
        log_scales=torch.nan_to_num(splats.log_scales, nan=float("nan"), neginf=-30.0, posinf=30.0),
        logit_opacities=torch.nan_to_num(splats.logit_opacities, nan=float("nan"), neginf=-30.0, posinf=30.0),
    )
    rows = finite_rows(bounded)
    if not bool(rows.any()):
        raise DataError(f"{file}: there is no splat whose values are all finite")
    return bounded if bool(rows.all()) else bounded.select(rows)


def _cameras_without_photos(path: Path, splats: Splats, frame: Frame) -> tuple[list[Camera], str]:
    run = FinishedRun.open(path) if is_run(path) else None
    if run is not None and run.cameras:
        cameras, origin = run.cameras, run.named_cameras[0].origin
        chosen = [frame.camera_in(cameras[i], origin) for i in spread(range(len(cameras)), _VIEWS)]
        return chosen, f"{len(chosen)} cameras of the run"
    cameras = sample_cameras(splats, _VIEWS)
    return cameras, f"{len(cameras)} cameras around the scene"


@contextlib.contextmanager
def _photos_of(path: Path, splats: Splats) -> Iterator[RunPhotos]:
    """Photos of a file's scene, with the default settings of training."""
    if not path.exists():
        raise DataError(f"{path}: the photos are not there; say with --scene where they are")
    if find_kind(path)[0].kind in ("photos", "video"):
        raise DataError(
            f"{path}: the photos come without cameras, and estimated ones would not be in the frame of the splats; "
            "give a scene with cameras, or the run folder that the splats come from"
        )
    loaded = load_scene(path, SceneConfig(max_side="auto"))
    try:
        yield RunPhotos(loaded, TrainConfig(antialias=splats.antialias), {})
    finally:
        loaded.images.close()
