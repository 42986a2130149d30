# SPDX-License-Identifier: Apache-2.0
"""What the HTML page of a scene shows at first: its name, a photo's view, a small picture until the scene is there."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from sparse3d.camera import Camera
from sparse3d.export.first_view import first_view
from sparse3d.formats.html.options import PageOptions, StartCamera, start_of_splats
from sparse3d.records.frame import frame_of_splats
from sparse3d.render import render
from sparse3d.splats import Splats

_POSTER_SIDE = 640


def page_options(title: str, splats: Splats, cameras: Sequence[Camera] = ()) -> PageOptions:
    """The page opens at the best one of the photos of `cameras` and stays near to where they looked (`first_view`);
    without any, it opens where most splats are in view and goes anywhere. Its poster is that view [640,640], drawn from
    the splats: it tells nothing that they do not."""
    if not cameras:
        start, reach = start_of_splats(splats), None
    else:
        view = first_view(splats, cameras)
        start, reach = view.camera, view.reach
    return PageOptions(title=title, poster=_poster(splats, start), camera=start, reach=reach)


def view_of_start(start: StartCamera, side: int) -> Camera:
    """The square picture [side,side] that a page shows at first in a square window."""
    position, target, up = (np.array(v, dtype=np.float64) for v in (start.position, start.target, start.up))
    forward = target - position
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, up)
    if np.linalg.norm(right) < 1e-6 * np.linalg.norm(up):
        right = np.cross(forward, (1.0, 0.0, 0.0) if abs(forward[0]) < 0.9 else (0.0, 0.0, 1.0))
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = right, np.cross(forward, right), forward
    pose[:3, 3] = -pose[:3, :3] @ position
    focal = 0.5 * side / np.tan(np.radians(start.fov) / 2)
    return Camera(side, side, focal, focal, side / 2, side / 2, pose)


def _poster(splats: Splats, start: StartCamera) -> bytes:
    frame = frame_of_splats(splats)
    camera = frame.camera_in(view_of_start(start, _POSTER_SIDE), splats.origin)
    image = render(frame.splats_in(splats), camera).image.clamp(0, 1).cpu().numpy()
    out = io.BytesIO()
    Image.fromarray(np.round(image * 255).astype(np.uint8)).save(out, "PNG")
    return out.getvalue()
