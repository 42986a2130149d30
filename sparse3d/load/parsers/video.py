# SPDX-License-Identifier: Apache-2.0
"""A video file, or a folder that holds one and no photos: the sharpest frames become photos without cameras.

The frames are written into the run folder (frames/), upright, and read from there.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from sparse3d.errors import DataError
from sparse3d.load.config import SceneConfig
from sparse3d.load.parsers.parsed_scene import ParsedScene
from sparse3d.load.parsers.parser import PARSERS, SceneParser, Work, by_name
from sparse3d.photos.photo import Photo
from sparse3d.photos.video import extract_frames, is_video


def _video_file(root: Path) -> Path | None:
    if root.is_file():
        return root if is_video(root) else None
    return next((p for p in sorted(root.iterdir()) if p.is_file() and is_video(p)), None) if root.is_dir() else None


def sniff(root: Path) -> str | None:
    path = _video_file(root)
    if path is None:
        return None
    return f"{path.name} is a video" if path == root else f"it holds the video {path.name}"


def parse(root: Path, cfg: SceneConfig, work: Work) -> ParsedScene:
    video = _video_file(root)
    if video is None:
        raise DataError(f"{root}: is not a video file and holds none (.mp4, .mov, ...)")
    base = work.workdir or Path(tempfile.mkdtemp(prefix="sparse3d-"))
    frames = extract_frames(video, base / "frames", cfg.video_frames, work.progress)
    photos = by_name([Photo(path.name, path, None, upright=True) for path in frames], str(video))
    note = f"{len(photos)} frames of {video.name}, the sharpest of equal intervals, are in {base / 'frames'}"
    return ParsedScene("video", base, photos, notes=(note,))


PARSERS.register("video")(SceneParser("video", "a video file", sniff, parse))
