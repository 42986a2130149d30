# SPDX-License-Identifier: Apache-2.0
"""What one browser has for itself: its panels, its photos' frames, its place, and the pictures that it is sent."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from sparse3d.camera import Camera
from sparse3d.viewer.cameras import Seen, camera_of, fov_of, seen_by, wxyz_of  # pyright: ignore[reportMissingImports]
from sparse3d.viewer.modes import COLOUR, DIFFERENCE, Look, draw  # pyright: ignore[reportMissingImports]
from sparse3d.viewer.panels import Panels  # pyright: ignore[reportMissingImports]
from sparse3d.viewer.photo_overlay import (  # pyright: ignore[reportMissingImports]
    Photo,
    difference,
    stands_at,
    wiped,
)

if TYPE_CHECKING:
    from sparse3d.viewer.page import Page  # pyright: ignore[reportMissingImports]

# Depth that viser can carry, in units of the page; what is farther stands there.
_FARTHEST = 167.0
# The quality of JPEG pictures while moving and at rest.
_MOVING_QUALITY, _RESTING_QUALITY = 70, 92
# In units of the page: the size of a photo's frame, and how near to the eye none is shown, for it would hide the view.
_FRAME, _TOO_NEAR = 0.35, 1.5
_TRAIN_COLOUR, _TEST_COLOUR = (90, 170, 255), (255, 170, 60)


class ClientPage:
    """`build` makes the panels; afterwards the painter calls `seen` and `paint`."""

    def __init__(self, client: Any, page: Page) -> None:
        self.client, self.page = client, page
        self.look = Look()
        self.wipe = 1.0
        self.gone = False
        self._photo: Photo | None = None
        self._frames: dict[str, Any] = {}
        self._frames_wanted = True
        self._cameras = {named.camera.name: named for named in page.subject.cameras}
        self._lock = threading.Lock()
        self._panels = Panels(self)

    def build(self) -> None:
        self._panels.build(self.client.gui)
        for name in self._cameras:
            self.show_thumbnail(name)
        number, painter = self.client.client_id, self.page.painter

        async def moved(_: Any) -> None:
            painter.moved(number)

        self.client.camera.on_update(moved)

    @property
    def photo_names(self) -> list[str]:
        return list(self._cameras)

    # Called in the painter's thread.

    def seen(self) -> Seen | None:
        camera = self.client.camera
        if self.gone or camera.image_width < 1 or camera.image_height < 1:
            return None
        return seen_by(camera, self.page.subject.scale)

    def paint(self, seen: Seen, pixels: int, *, resting: bool) -> None:
        """Draw what is seen and send it; with depth when resting, so that frames hide behind the scene."""
        look, photo, wipe = self.look, self._photo, self.wipe
        camera = camera_of(seen, pixels)
        mode = COLOUR if look.mode == DIFFERENCE else look.mode
        picture = draw(self.page.splats_for(mode), camera, replace(look, mode=mode), depth=resting)
        image = picture.image
        if photo is not None and stands_at(photo, camera, self.page.subject.size):
            if look.mode == DIFFERENCE:
                image = difference(image, photo, camera)
            elif wipe > 0:
                image = wiped(image, photo, camera, wipe)
        if self.gone:
            return
        depth = None
        if picture.depth is not None:
            depth = np.minimum(picture.depth * self.page.subject.scale, _FARTHEST).astype(np.float32)
        quality = _RESTING_QUALITY if resting else _MOVING_QUALITY
        self.client.scene.set_background_image(image, format="jpeg", jpeg_quality=quality, depth=depth)
        self.client.flush()
        if resting:
            self._hide_near_frames(camera.position)
            self._panels.show_pace(camera.width, camera.height)

    # Called in threads of the server.

    def set_look(self, **changes: Any) -> None:
        self.look = replace(self.look, **changes)
        self.redraw()

    def set_wipe(self, share: float) -> None:
        self.wipe = share
        self.redraw()

    def redraw(self) -> None:
        self.page.painter.changed(self.client.client_id)

    def go_home(self) -> None:
        home, scale = self.page.subject.home.camera, self.page.subject.scale
        self.leave_photo()
        self._place(np.array(home.position) * scale, np.array(home.target) * scale, np.array(home.up))
        self.client.camera.fov = float(np.radians(home.fov))

    def set_up(self, up: np.ndarray) -> None:
        """Which way of the splats' world is up for this browser's orbit."""
        self.client.camera.up_direction = up

    def stand_at(self, name: str) -> None:
        """Go to where a photo was taken, and lay the photo over the picture as far as the wipe says."""
        named = self._cameras.get(name)
        if named is None:
            return
        self.leave_photo()
        camera, scale = named.camera, self.page.subject.scale
        self._photo = self.page.photo(name)
        target = np.array(self.page.subject.home.camera.target)
        ahead = camera.world_from_cam[:3, 2]
        far = max(float((target - camera.position) @ ahead), 0.1 * self.page.subject.size)
        place = camera.position * scale
        self._place(place, place + ahead * far * scale, -camera.cam_from_world[1, :3])
        self.client.camera.fov = self._whole(camera)
        self._panels.show_photo(name, there=self._photo is not None)
        self.redraw()

    def leave_photo(self) -> None:
        """The photo goes; the camera stays."""
        self._photo = None
        self._panels.show_photo(None, there=False)
        self.redraw()

    def show_frames(self, visible: bool) -> None:
        self._frames_wanted = visible
        self.redraw()

    def show_thumbnail(self, name: str) -> None:
        """A frame where the photo was taken, with its picture once that is there; a click on it goes there."""
        named = self._cameras.get(name)
        if named is None:
            return
        camera, pixels = named.camera, self.page.thumbnails.get(name)
        with self._lock:
            if name in self._frames:
                self._frames[name].image = pixels
                return
            frame = self.client.scene.add_camera_frustum(
                f"/photos/{len(self._frames)}", fov_of(camera), camera.width / camera.height,
                scale=_FRAME, thickness=0.01, color=_TEST_COLOUR if named.split == "test" else _TRAIN_COLOUR,
                image=pixels, format="jpeg", wxyz=wxyz_of(camera),
                position=camera.position * self.page.subject.scale, visible=False,
            )  # fmt: skip
            self._frames[name] = frame
        frame.on_click(lambda _: self.stand_at(name))
        self.redraw()

    def show_course(self) -> None:
        self._panels.show_course()

    def show_facts(self) -> None:
        self._panels.show_facts()

    def _hide_near_frames(self, eye: np.ndarray) -> None:
        with self._lock:
            frames = list(self._frames.items())
        for name, frame in frames:
            away = np.linalg.norm(self._cameras[name].camera.position - eye) * self.page.subject.scale
            visible = bool(self._frames_wanted and away >= _TOO_NEAR)
            if frame.visible != visible:
                frame.visible = visible

    def _place(self, position: np.ndarray, target: np.ndarray, up: np.ndarray) -> None:
        camera = self.client.camera
        with self.client.atomic():
            camera.up_direction = up
            camera.position = position
            camera.look_at = target

    def _whole(self, camera: Camera) -> float:
        """The vertical field of view at which this browser's window shows the whole photo, radians."""
        window = self.client.camera
        shape = max(window.image_width, 1) / max(window.image_height, 1)
        high, wide = camera.height / (2 * camera.fy), camera.width / (2 * camera.fx)
        return float(2 * np.arctan(max(high, wide / shape)))
