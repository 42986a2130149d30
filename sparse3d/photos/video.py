# SPDX-License-Identifier: Apache-2.0
"""Photos from a video: the sharpest frame of each of N equal intervals of time.

Sharpness is the variance of the Laplacian of the grey picture (Pech-Pacheco et al. 2000) at a reduced size, where noise
counts less than motion blur. A phone's rotation tag and the shape of the pixels are honoured; HDR and wide colours
become sRGB (see `hdr`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import av.error
import cv2
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray

from sparse3d.errors import DataError
from sparse3d.formats import atomic_file
from sparse3d.photos import hdr
from sparse3d.photos.film import Film, open_video, survey_film
from sparse3d.photos.nclx import Colours, colour_name

VIDEO_SUFFIXES = (".mp4", ".mov", ".m4v", ".mkv", ".avi", ".webm", ".3gp", ".mts", ".m2ts", ".mpg", ".mpeg")
# Longer side of the picture on which sharpness is measured.
_MEASURE_PX = 480
# From this height on, a video that does not say its colour matrix is BT.709, as players assume.
_HD_HEIGHT = 720
_UNSPECIFIED = 2
# FFmpeg's numbers (SWS_CS_*) of matrices from YCbCr. PyAV before 18 does not obey that of BT.2020.
_BT709_MATRIX, _BT601_MATRIX, _BT2020_MATRIX = 1, 5, 9
_INDEX = "frames.json"


def is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES


def frame_notes(folder: Path) -> tuple[str, ...]:
    """What there is to say of the video whose frames `extract_frames` put into `folder`: sentences for the user."""
    return tuple(json.loads((folder / _INDEX).read_text(encoding="utf-8"))["notes"])


def extract_frames(
    video: Path, folder: Path, count: int, progress: Callable[[str, float], None] | None = None
) -> list[Path]:
    """Up to `count` frames of `video` as upright JPEG files in `folder`, in order of time; of a file that ends early
    those until there.

    A folder that already holds the frames of this video (same size and date, same count) is used again. Raises
    DataError if the file is not a video or holds fewer than 2 frames.
    """
    stat = video.stat()
    wanted = {"video": video.name, "bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns, "count": count}
    if (kept := _kept_frames(folder, wanted)) is not None:
        return kept
    folder.mkdir(parents=True, exist_ok=True)
    film = survey_film(video)
    if film.total < 2:
        raise DataError(
            f"{video}: holds {film.total} frames; a scene needs at least 2 from different places: give a longer film, "
            "or photos"
        )
    paths, told = [], _Told()
    try:
        for number, pixels in _sharpest(video, film, min(count, film.total), told, progress):
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
        raise DataError(f"{video}: cannot be decoded as a video ({error}); convert it to MP4 (H.264)") from error
    if len(paths) < 2:
        raise DataError(
            f"{video}: only {len(paths)} of its {film.total} frames can be decoded, the others are damaged; a scene "
            "needs at least 2: copy the file again"
        )
    notes = [*film.notes, *told.sentences(video.name)]
    with atomic_file(folder / _INDEX) as file:
        record = {**wanted, "notes": notes, "frames": [path.name for path in paths]}
        file.write(json.dumps(record, indent=1).encode())
    return paths


@dataclass
class _Told:
    """What was met while decoding: packets that are damaged, the kind of HDR or wide colours, half pictures."""

    damaged: int = 0
    colours: str = ""
    interlaced: bool = False

    def sentences(self, name: str) -> list[str]:
        out = []
        if self.damaged:
            out.append(f"frames of {name} that are damaged and left out: {self.damaged}")
        if self.colours:
            out.append(f"{name} is filmed in {self.colours}; its colours are converted to sRGB")
        if self.interlaced:
            out.append(f"{name} is interlaced: a frame is two half pictures of different moments; deinterlace it")
        return out


def _kept_frames(folder: Path, wanted: dict[str, Any]) -> list[Path] | None:
    try:
        index = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
        paths = [folder / name for name in index.pop("frames")]
        index.pop("notes")
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return None
    return paths if index == wanted and all(path.is_file() for path in paths) else None


def _sharpest(
    video: Path, film: Film, count: int, told: _Told, progress: Callable[[str, float], None] | None
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    best: tuple[float, int, av.VideoFrame] | None = None
    interval = 0
    parts = film.intervals(count)
    with open_video(video) as container:
        stream = container.streams[film.stream]
        assert isinstance(stream, VideoStream)
        stream.thread_type = "AUTO"
        shape = float(stream.sample_aspect_ratio or 1.0)
        for number, frame in enumerate(_frames(container, stream, told)):
            now = max(interval, parts.of(number, frame.pts))
            if now != interval and best is not None:
                yield best[1], _upright_rgb(best[2], shape, told)
                best = None
                if progress:
                    progress("sharpest frames of the video", now / count)
            interval = now
            score = _sharpness(frame)
            if best is None or score > best[0]:
                best = (score, number, frame)
    if best is not None:
        yield best[1], _upright_rgb(best[2], shape, told)
    if progress:
        progress("sharpest frames of the video", 1.0)


def _frames(container: InputContainer, stream: VideoStream, told: _Told) -> Iterator[av.VideoFrame]:
    """The frames that can be decoded, in order of time; a file that ends early ends here."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except (StopIteration, av.error.FFmpegError, OSError):
            return
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            told.damaged += 1
            continue
        for frame in frames:
            assert isinstance(frame, av.VideoFrame)
            if frame.is_corrupt:
                told.damaged += 1
            else:
                yield frame


def _sharpness(frame: av.VideoFrame) -> float:
    scale = min(1.0, _MEASURE_PX / max(frame.width, frame.height))
    width, height = max(2, round(frame.width * scale)), max(2, round(frame.height * scale))
    grey = frame.reformat(width=width, height=height, format="gray").to_ndarray()
    return float(cv2.Laplacian(grey, cv2.CV_64F).var())


def _upright_rgb(frame: av.VideoFrame, shape: float, told: _Told) -> NDArray[np.uint8]:
    """[H,W,3] sRGB as a player shows it. shape: width of a pixel over its height."""
    transfer, primaries, matrix = int(frame.color_trc), int(frame.color_primaries), None
    wide = hdr.needs_conversion(transfer, primaries)
    if int(frame.colorspace) == _UNSPECIFIED:
        if wide and primaries != hdr.P3_D65 and transfer != hdr.LINEAR:
            matrix = _BT2020_MATRIX
        else:
            matrix = _BT709_MATRIX if frame.height >= _HD_HEIGHT else _BT601_MATRIX
    told.interlaced |= bool(frame.interlaced_frame)
    if wide:
        signal = frame.reformat(format="rgb48le", src_colorspace=matrix).to_ndarray().astype(np.uint16, copy=False)
        rgb = hdr.to_srgb8(signal, transfer, primaries)
        told.colours = colour_name(Colours(transfer, primaries))
    else:
        rgb = frame.reformat(format="rgb24", src_colorspace=matrix).to_ndarray().astype(np.uint8, copy=False)
    if shape != 1.0:
        width = max(1, round(rgb.shape[1] * shape))
        how = cv2.INTER_AREA if width < rgb.shape[1] else cv2.INTER_CUBIC
        rgb = cv2.resize(rgb, (width, rgb.shape[0]), interpolation=how).astype(np.uint8, copy=False)
    return np.ascontiguousarray(_turned(rgb, frame))


def _turned(rgb: NDArray[np.uint8], frame: av.VideoFrame) -> NDArray[np.uint8]:
    """As the display matrix (ISO/IEC 14496-12, 8.3.2) turns and mirrors it. A turn that is no multiple of 90 degrees is
    taken as the nearest."""
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return rgb
    a, b, _, c, d = np.frombuffer(bytes(data), "<i4")[:5].astype(np.float64)
    # x' = a x + c y, y' = b x + d y.
    if abs(a) + abs(d) < abs(b) + abs(c):
        rgb, across, down = rgb.transpose(1, 0, 2), c, b
    else:
        across, down = a, d
    return rgb[:: -1 if down < 0 else 1, :: -1 if across < 0 else 1]
