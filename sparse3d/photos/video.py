# SPDX-License-Identifier: Apache-2.0
"""Photos from a video: the sharpest frame of each of N equal intervals.

Sharpness is the variance of the Laplacian of the grey picture (Pech-Pacheco et al. 2000) at a reduced size, where noise
counts less than motion blur. A phone's rotation tag is honoured.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import av.error
import cv2
import numpy as np
from numpy.typing import NDArray

from sparse3d.errors import DataError
from sparse3d.formats import atomic_file

VIDEO_SUFFIXES = (".mp4", ".mov", ".m4v", ".mkv", ".avi", ".webm")
# Longer side of the picture on which sharpness is measured.
_MEASURE_PX = 480
# From this height on, a video that does not say its colour matrix is BT.709, as players assume.
_HD_HEIGHT = 720
_UNSPECIFIED = 2
_INDEX = "frames.json"


def is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES


def extract_frames(
    video: Path, folder: Path, count: int, progress: Callable[[str, float], None] | None = None
) -> list[Path]:
    """Up to `count` frames of `video` as upright JPEG files in `folder`, in order of time.

    A folder that already holds the frames of this video (same size and date, same count) is used again. Raises
    DataError if the file is not a video or holds fewer than 2 frames.
    """
    stat = video.stat()
    wanted = {"video": video.name, "bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns, "count": count}
    if (kept := _kept_frames(folder, wanted)) is not None:
        return kept
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    try:
        total = _count_frames(video)
        if total < 2:
            raise DataError(f"{video}: holds {total} frames; a scene needs at least 2 from different places")
        for number, pixels in _sharpest(video, total, min(count, total), progress):
            path = folder / f"frame_{number:06d}.jpg"
            # Full colour resolution, so that the video's own compression is the only visible loss.
            options = [
                cv2.IMWRITE_JPEG_QUALITY,
                95,
                cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
                cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
            ]
            _, data = cv2.imencode(".jpg", np.ascontiguousarray(pixels[:, :, ::-1]), options)
            with atomic_file(path) as file:
                file.write(data.tobytes())
            paths.append(path)
    except (av.error.FFmpegError, OSError, IndexError, ValueError) as error:
        raise DataError(f"{video}: cannot be decoded as a video ({error})") from error
    with atomic_file(folder / _INDEX) as file:
        file.write(json.dumps({**wanted, "frames": [path.name for path in paths]}, indent=1).encode())
    return paths


def _kept_frames(folder: Path, wanted: dict[str, Any]) -> list[Path] | None:
    try:
        index = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
        paths = [folder / name for name in index.pop("frames")]
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return None
    return paths if index == wanted and all(path.is_file() for path in paths) else None


def _count_frames(video: Path) -> int:
    """Frames in the first video stream; counted from the packets where the header does not say."""
    with av.open(str(video)) as container:
        if not container.streams.video:
            raise DataError(f"{video}: holds no video stream")
        stream = container.streams.video[0]
        return stream.frames or sum(1 for packet in container.demux(stream) if packet.size)


def _sharpest(
    video: Path, total: int, count: int, progress: Callable[[str, float], None] | None
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    best: tuple[float, int, av.VideoFrame] | None = None
    interval = 0
    with av.open(str(video)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        for number, frame in enumerate(container.decode(stream)):
            # Frames beyond the number that the header promises belong to the last interval.
            now = min(number * count // total, count - 1)
            if now != interval and best is not None:
                yield best[1], _upright_rgb(best[2])
                best, interval = None, now
                if progress:
                    progress("sharpest frames of the video", now / count)
            score = _sharpness(frame)
            if best is None or score > best[0]:
                best = (score, number, frame)
    if best is not None:
        yield best[1], _upright_rgb(best[2])
    if progress:
        progress("sharpest frames of the video", 1.0)


def _sharpness(frame: av.VideoFrame) -> float:
    scale = min(1.0, _MEASURE_PX / max(frame.width, frame.height))
    width, height = max(2, round(frame.width * scale)), max(2, round(frame.height * scale))
    grey = frame.reformat(width=width, height=height, format="gray").to_ndarray()
    return float(cv2.Laplacian(grey, cv2.CV_64F).var())


def _upright_rgb(frame: av.VideoFrame) -> NDArray[np.uint8]:
    matrix = None
    if int(frame.colorspace) == _UNSPECIFIED:
        matrix = "ITU709" if frame.height >= _HD_HEIGHT else "ITU601"
    rgb = frame.reformat(format="rgb24", src_colorspace=matrix).to_ndarray().astype(np.uint8, copy=False)
    # The tag is the angle, counterclockwise, by which a player turns the picture.
    return np.ascontiguousarray(np.rot90(rgb, round((frame.rotation or 0) / 90)))
