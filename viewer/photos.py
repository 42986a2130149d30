# SPDX-License-Identifier: Apache-2.0
"""The photos of a run, opened in a thread of their own, so that the page need not wait for them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparse3d.errors import Sparse3dError
from sparse3d.runs.finished import FinishedRun
from sparse3d.viewer.photo_overlay import Photo  # pyright: ignore[reportMissingImports]

# The long side of a thumbnail, pixels; and thumbnails shown at most, spread evenly over the photos.
_THUMBNAIL, MOST_THUMBNAILS = 128, 100


class Photos:
    """`thumbnail(name, pixels [h,w,3])` is called in the thread for each photo; `get` gives a photo by name."""

    def __init__(
        self, run: FinishedRun, thumbnail: Callable[[str, NDArray[np.uint8]], None], tell: Callable[[str], None]
    ) -> None:
        self._run, self._thumbnail, self._tell = run, thumbnail, tell
        self._lock = threading.Lock()
        self._scene: Any = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="photos", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10.0)

    def get(self, name: str) -> Photo | None:
        """None where the photos are not there (yet), or have none of that name."""
        with self._lock:
            scene = self._scene
            if scene is None or name not in scene.names:
                return None
            index = scene.names.index(name)
            pixels = scene.images.rgb8(index)
        height, width = pixels.shape[:2]
        return Photo(name, scene.cameras[index].resized(width, height), pixels)

    def _work(self) -> None:
        try:
            with self._run.scene() as scene:
                with self._lock:
                    self._scene = scene
                try:
                    self._show(scene)
                    self._stopped.wait()
                finally:
                    with self._lock:
                        self._scene = None
        except Sparse3dError as error:
            self._tell(f"the page shows no photos: {error}")

    def _show(self, scene: Any) -> None:
        import cv2

        step = max(1, -(-len(scene.names) // MOST_THUMBNAILS))
        for index in range(0, len(scene.names), step):
            if self._stopped.is_set():
                return
            with self._lock:
                pixels = scene.images.rgb8(index)
            share = _THUMBNAIL / max(pixels.shape[:2])
            small = cv2.resize(pixels, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
            self._thumbnail(scene.names[index], np.asarray(small, dtype=np.uint8))
        if step > 1:
            self._tell(
                f"{len(range(0, len(scene.names), step))} of {len(scene.names)} photos are shown in their frames"
            )
