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
from sparse3d.photos.video import extract_frames, frame_notes, is_video


def _videos(root: Path) -> list[Path]:
    """The video that is given, or those in the folder; hidden files, as macOS' ._IMG_0001.MOV, are none."""
    if root.is_file():
        return [root] if is_video(root) else []
    if not root.is_dir():
        return []
    return [p for p in sorted(root.iterdir()) if is_video(p) and not p.name.startswith(".") and p.is_file()]


def sniff(root: Path) -> str | None:
    videos = _videos(root)
    if not videos:
        return None
    name = videos[0].name
    return f"{name} is a video" if videos[0] == root else f"it holds the video {name}"


def parse(root: Path, cfg: SceneConfig, work: Work) -> ParsedScene:
    videos = _videos(root)
    if not videos:
        raise DataError(f"{root}: is no video and holds none; give a film (.mp4, .mov, ...) or a folder with one")
    video = videos[0]
    base = work.workdir or Path(tempfile.mkdtemp(prefix="sparse3d-"))
    folder = base / "frames"
    frames = extract_frames(video, folder, cfg.video_frames, work.progress)
    photos = by_name([Photo(path.name, path, None, upright=True) for path in frames], str(video))
    notes = (f"{len(photos)} frames of {video.name}, the sharpest of equal intervals, are in {folder}",)
    notes += frame_notes(folder)
    if len(videos) > 1:
        notes += (f"1 of {len(videos)} videos in {root.name}/ is used, {video.name}; give another as the scene",)
    return ParsedScene("video", base, photos, notes=notes)


PARSERS.register("video")(SceneParser("video", "a video file", sniff, parse))
