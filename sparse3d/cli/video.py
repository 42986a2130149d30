# SPDX-License-Identifier: Apache-2.0
"""Pictures to an MP4 that plays everywhere: H.264, yuv420p, BT.709, the index before the data (faststart)."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import OutputContainer
from av.error import FFmpegError
from av.video.stream import VideoStream
from numpy.typing import NDArray
from PIL import Image

from sparse3d.errors import BackendError, DataError, DiskFullError
from sparse3d.formats.atomic import atomic_file

_ENCODER = "libx264"
# AVColorSpace, primaries and transfer number 1 are BT.709; range 1 is "tv". Untagged files are guessed by their height.
_BT709 = 1
_TV_RANGE = 1


def require_encoder() -> None:
    """Raises BackendError where this PyAV cannot write H.264."""
    if _ENCODER not in av.codecs_available:
        raise BackendError(
            f"this PyAV ({av.__version__}) was built without the encoder {_ENCODER}, which writes H.264; install the "
            "wheel from PyPI (`pip install --force-reinstall av`), or write pictures with --out FOLDER/"
        )


def write_video(path: Path, frames: Iterable[NDArray[np.uint8]], *, fps: float = 30.0, crf: int = 18) -> int:
    """Encode frames [H,W,3] uint8 sRGB, all of one even size, and return their number.

    crf: constant rate factor, 0 (lossless) to 51; 18 is hard to tell from the source. Written beside `path` and renamed
    when complete. Raises BackendError without an encoder, DataError for no frames or sizes that differ or are odd.
    """
    require_encoder()
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.stem[:40]}.", suffix=".mp4.tmp", dir=path.parent)
    os.close(handle)
    try:
        count = _encode(temporary, frames, fps, crf)
        if count == 0:
            raise DataError(f"{path}: a video needs at least one frame")
        if os.name == "posix":
            os.chmod(temporary, 0o644)
        os.replace(temporary, path)
        return count
    except FFmpegError as error:
        if error.errno in (errno.ENOSPC, errno.EFBIG):
            raise DiskFullError(f"{path} could not be written: {error.strerror}; free some space, try again") from error
        raise DataError(f"{path}: the video could not be written: {error}") from error
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)


def _encode(temporary: str, frames: Iterable[NDArray[np.uint8]], fps: float, crf: int) -> int:
    count = 0
    stream: VideoStream | None = None
    with av.open(temporary, "w", format="mp4", options={"movflags": "+faststart"}) as container:
        for pixels in frames:
            if stream is None:
                stream = _add_stream(container, pixels, fps, crf)
            if pixels.shape != (stream.height, stream.width, 3):
                first = (stream.height, stream.width, 3)
                raise DataError(f"frame {count} has the shape {pixels.shape}, the first has {first}")
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            yuv = frame.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
            yuv.pts = count
            container.mux(stream.encode(yuv))
            count += 1
        if stream is not None:
            container.mux(stream.encode())
    return count


def _add_stream(container: OutputContainer, pixels: NDArray[np.uint8], fps: float, crf: int) -> VideoStream:
    height, width = pixels.shape[:2]
    if height % 2 or width % 2:
        raise DataError(f"a frame of {width}x{height} cannot be yuv420p: both sides must be even")
    rate = Fraction(fps).limit_denominator(1001)
    # One keyframe a second lets a player seek.
    options = {"crf": str(crf), "preset": "medium", "g": str(max(1, round(fps)))}
    stream: VideoStream = container.add_stream(_ENCODER, rate=rate, options=options)  # type: ignore[assignment]
    stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
    context = stream.codec_context
    context.time_base = 1 / rate
    context.colorspace, context.color_primaries, context.color_trc = _BT709, _BT709, _BT709
    context.color_range = _TV_RANGE
    return stream


def write_pictures(folder: Path, frames: Iterable[NDArray[np.uint8]]) -> int:
    """Write frames as 00000.png, 00001.png, ... and return their number."""
    count = 0
    for pixels in frames:
        with atomic_file(Path(folder) / f"{count:05d}.png") as file:
            Image.fromarray(pixels).save(file, format="PNG")
        count += 1
    return count
