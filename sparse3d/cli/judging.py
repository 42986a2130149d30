# SPDX-License-Identifier: Apache-2.0
"""The photos that judge splats, for commands that take a run or a file of splats."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from sparse3d.cli.run_args import SceneArgs
from sparse3d.cli.terminal import Bar
from sparse3d.errors import DataError

if TYPE_CHECKING:
    from sparse3d.records.scene import Scene
    from sparse3d.runs.finished import FinishedRun


class JudgedBy(Protocol):
    """The arguments of such a command: scene and load are --scene and how it is loaded."""

    @property
    def source(self) -> Path: ...

    @property
    def scene(self) -> Path | None: ...

    @property
    def load(self) -> SceneArgs: ...


@contextlib.contextmanager
def judging_scene(args: JudgedBy, run: FinishedRun | None, given: Sequence[str]) -> Iterator[Scene | None]:
    """The photos to judge by: the run's own, those of --scene, or none. Options of loading given by hand win over the
    run's."""
    from sparse3d.load.config import SceneConfig
    from sparse3d.load.scene import find_kind, load_scene

    path = args.scene or (Path(run.config.scene_path) if run is not None else None)
    if path is None:
        yield None
        return
    if not path.exists():
        raise DataError(f"{path}: the photos are not there; say with --scene where they are")
    fields = {name: getattr(args.load, name) for name in SceneConfig.__dataclass_fields__}
    with contextlib.ExitStack() as stack:
        with Bar("loading") as bar:

            def show(what: str, fraction: float) -> None:
                bar.show(fraction, what)

            if run is not None:
                chosen = replace(run.config.scene, **{name: v for name, v in fields.items() if name in given})
                scene = stack.enter_context(run.with_loading(chosen).scene(path, show))
            elif find_kind(path, args.load.kind)[0].kind in ("photos", "video"):
                raise DataError(
                    f"{path}: the photos come without cameras, and estimated ones would not be in the frame of "
                    f"{args.source}; give a scene with cameras, or the run folder that the splats come from"
                )
            else:
                scene = load_scene(path, SceneConfig(**fields), progress=show)
                stack.callback(scene.images.close)
        if not scene.train:
            raise DataError(f"{path}: there is no training photo to judge by")
        yield scene
