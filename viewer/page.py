# SPDX-License-Identifier: Apache-2.0
"""The page of one subject: the server, the painter, the photos, and a `ClientPage` for every browser."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparse3d.splats import Splats
from sparse3d.viewer import safe  # pyright: ignore[reportMissingImports]
from sparse3d.viewer.cameras import camera_of, seen_at  # pyright: ignore[reportMissingImports]
from sparse3d.viewer.client_page import ClientPage  # pyright: ignore[reportMissingImports]
from sparse3d.viewer.follow import Follower  # pyright: ignore[reportMissingImports]
from sparse3d.viewer.modes import Look, draw, dressed  # pyright: ignore[reportMissingImports]
from sparse3d.viewer.painter import MOST_PIXELS, Painter  # pyright: ignore[reportMissingImports]
from sparse3d.viewer.photo_overlay import Photo  # pyright: ignore[reportMissingImports]
from sparse3d.viewer.photos import Photos  # pyright: ignore[reportMissingImports]
from sparse3d.viewer.subject import Shown, Subject  # pyright: ignore[reportMissingImports]

# Dressed splats that are kept, by mode.
_KEPT_MODES = 3


class Page:
    """`start` it, print `served.address`, and `stop` it at the end. tell: takes sentences for the user."""

    def __init__(self, subject: Subject, tell: Callable[[str], None]) -> None:
        self.subject = subject
        self.tell = tell
        self.thumbnails: dict[str, NDArray[np.uint8]] = {}
        self.served: safe.Served | None = None
        self.painter = Painter(tell)
        self.photos = None if subject.run is None else Photos(subject.run, self._add_thumbnail, tell)
        self._follower = Follower(subject, self._on_newer, tell) if subject.follows else None
        self._clients: dict[int, ClientPage] = {}
        self._lock = threading.Lock()
        self._dressed: dict[str, tuple[int, Splats]] = {}

    def start(self, *, share_lan: bool = False, port: int | None = None) -> safe.Served:
        """Warm up, then serve. Raises as `safe.start`."""
        safe.require_viser()
        self._warm_up()
        served = self.served = safe.start(share_lan=share_lan, port=port)
        server = served.server
        server.gui.set_panel_label("sparse3d")
        server.gui.configure_theme(dark_mode=True, show_logo=False, show_share_button=False)
        home, scale = self.subject.home.camera, self.subject.scale
        server.scene.set_up_direction(home.up)
        server.scene.world_axes.visible = False
        server.initial_camera.position = np.array(home.position) * scale
        server.initial_camera.look_at = np.array(home.target) * scale
        server.initial_camera.up = home.up
        server.initial_camera.fov = float(np.radians(home.fov))
        server.on_client_connect(self._on_connect)
        server.on_client_disconnect(self._on_disconnect)
        self.painter.start()
        for part in (self.photos, self._follower):
            if part is not None:
                part.start()
        return served

    def stop(self) -> None:
        """End every thread and let go of the port."""
        for part in (self._follower, self.photos, self.painter, self.served):
            if part is not None:
                part.stop()

    def splats_for(self, mode: str) -> Splats:
        """The newest splats as `mode` draws them; called by the painter's thread."""
        value, version = self.subject.shown.get()
        kept = self._dressed.get(mode)
        if kept is not None and kept[0] == version:
            return kept[1]
        assert isinstance(value, Shown)
        made = dressed(value.splats, mode, value.support, self.subject.size)
        self._dressed.pop(mode, None)
        while len(self._dressed) >= _KEPT_MODES:
            self._dressed.pop(next(iter(self._dressed)))
        self._dressed[mode] = version, made
        return made

    def photo(self, name: str) -> Photo | None:
        return None if self.photos is None else self.photos.get(name)

    def _warm_up(self) -> None:
        """The first call of a kernel takes long, and longer beside a browser that starts."""
        seen = seen_at(self.subject.home.camera, 640, 360)
        for depth in (False, True):
            draw(self.splats_for("Colour"), camera_of(seen, MOST_PIXELS), Look(), depth=depth)

    def _on_connect(self, client: Any) -> None:
        page = ClientPage(client, self)
        with self._lock:
            self._clients[client.client_id] = page
        page.build()
        self.painter.add(client.client_id, page)

    def _on_disconnect(self, client: Any) -> None:
        self.painter.remove(client.client_id)
        with self._lock:
            page = self._clients.pop(client.client_id, None)
        if page is not None:
            page.gone = True

    def _add_thumbnail(self, name: str, pixels: NDArray[np.uint8]) -> None:
        self.thumbnails[name] = pixels
        for page in self._pages():
            page.show_thumbnail(name)

    def _on_newer(self) -> None:
        for page in self._pages():
            page.show_course()
            page.show_facts()
        self.painter.changed()

    def _pages(self) -> list[ClientPage]:
        with self._lock:
            return list(self._clients.values())
