# SPDX-License-Identifier: Apache-2.0
"""Frames of a video: the sharpest of each interval, upright, found again."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from sparse3d.errors import DataError
from sparse3d.load.config import SceneConfig
from sparse3d.load.parsers import PARSERS, Work
from sparse3d.photos.files import decode
from sparse3d.photos.video import extract_frames

WIDTH, HEIGHT = 128, 96
SHARP = (2, 9, 13)


def frame(number: int) -> np.ndarray:
    """Blocks with a red upper left corner; blurred unless the frame is one of SHARP."""
    rgb = np.kron(np.random.default_rng(number).integers(60, 200, (12, 16, 1)), np.ones((8, 8, 3))).astype(np.uint8)
    rgb[:24, :32] = (220, 20, 20)
    return rgb if number in SHARP else cv2.GaussianBlur(rgb, (0, 0), 3)


def write_video(path: Path, count: int = 15) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = WIDTH, HEIGHT, "yuv420p", 4_000_000
        for number in range(count):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame(number), format="rgb24")))
        container.mux(stream.encode())
    return path


def turn_right(path: Path) -> None:
    """Write the display matrix of a phone held upright (turn by 90 degrees with the clock) into the track header."""
    data = bytearray(path.read_bytes())
    # ISO 14496-12, 8.3.2: the matrix stands 40 bytes after the version of a version-0 header.
    at = data.index(b"tkhd") + 4 + 40
    assert data[at : at + 4] == b"\x00\x01\x00\x00"
    matrix = (0, 0x10000, 0, -0x10000, 0, 0, HEIGHT << 16, 0, 0x40000000)
    data[at : at + 36] = b"".join(value.to_bytes(4, "big", signed=True) for value in matrix)
    path.write_bytes(bytes(data))


def test_the_sharpest_of_each_interval(tmp_path: Path) -> None:
    video = write_video(tmp_path / "walk.mp4")
    told: list[float] = []
    paths = extract_frames(video, tmp_path / "frames", 3, lambda what, share: told.append(share))
    assert [path.name for path in paths] == [f"frame_{number:06d}.jpg" for number in SHARP]
    assert told[-1] == 1.0
    for path, number in zip(paths, SHARP, strict=True):
        rgb, _ = decode(path)
        assert rgb.shape == (HEIGHT, WIDTH, 3)
        assert np.abs(rgb.astype(int) - frame(number)).mean() < 8


def test_rotation_tag_is_honoured(tmp_path: Path) -> None:
    video = write_video(tmp_path / "phone.mp4")
    turn_right(video)
    rgb, _ = decode(extract_frames(video, tmp_path / "frames", 3)[0])
    assert rgb.shape == (WIDTH, HEIGHT, 3)
    # The red corner, upper left as stored, is upper right after a turn with the clock.
    np.testing.assert_allclose(rgb[4:28, -20:-4].mean(axis=(0, 1)), (220, 20, 20), atol=25)
    assert rgb[4:28, 4:20].mean(axis=(0, 1))[1] > 50


def test_colours_are_those_of_the_matrix_that_the_video_names(tmp_path: Path) -> None:
    """BT.709, as phones write it. (PyAV before 17 took BT.601 for every video: green comes out 20 too dark.)"""
    colours = np.array([[200, 30, 40], [40, 180, 60]], np.uint8)
    picture = np.repeat(np.repeat(colours[None], HEIGHT, axis=0), WIDTH // 2, axis=1)
    path = tmp_path / "phone.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = WIDTH, HEIGHT, "yuv420p", 4_000_000
        context = stream.codec_context
        context.colorspace, context.color_primaries, context.color_trc, context.color_range = 1, 1, 1, 1
        for _ in range(4):
            rgb = av.VideoFrame.from_ndarray(picture, format="rgb24")
            container.mux(
                stream.encode(rgb.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG"))
            )
        container.mux(stream.encode())
    for frame_path in extract_frames(video=path, folder=tmp_path / "frames", count=2):
        rgb, _ = decode(frame_path)
        for column, colour in ((WIDTH // 4, colours[0]), (3 * WIDTH // 4, colours[1])):
            found = rgb[20:-20, column - 8 : column + 8].mean(axis=(0, 1))
            np.testing.assert_allclose(found, colour, atol=6)


def test_frames_are_used_again_until_something_changes(tmp_path: Path) -> None:
    video = write_video(tmp_path / "walk.mp4")
    paths = extract_frames(video, tmp_path / "frames", 3)
    times = [path.stat().st_mtime_ns for path in paths]
    assert extract_frames(video, tmp_path / "frames", 3) == paths
    assert [path.stat().st_mtime_ns for path in paths] == times
    assert len(extract_frames(video, tmp_path / "frames", 5)) == 5
    paths[0].unlink()
    assert extract_frames(video, tmp_path / "frames", 3) == paths
    assert paths[0].is_file()


def test_more_frames_wanted_than_there_are(tmp_path: Path) -> None:
    assert len(extract_frames(write_video(tmp_path / "walk.mp4"), tmp_path / "frames", 60)) == 15


def test_as_a_scene(tmp_path: Path) -> None:
    video = write_video(tmp_path / "walk round.mp4")
    parser = PARSERS["video"]
    assert parser.sniff(video) == "walk round.mp4 is a video"
    assert parser.sniff(tmp_path) == "it holds the video walk round.mp4"
    scene = parser.parse(video, SceneConfig(video_frames=3), Work(tmp_path / "run", None))
    assert [photo.name for photo in scene.photos] == [f"frame_{number:06d}.jpg" for number in SHARP]
    assert all(photo.camera is None and photo.upright for photo in scene.photos)
    assert scene.photos[0].path.parent == tmp_path / "run" / "frames"
    assert scene.notes[0].startswith("3 frames of walk round.mp4, the sharpest of equal intervals")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6])
def test_truncated_video(tmp_path: Path, share: float) -> None:
    video = write_video(tmp_path / "walk.mp4")
    data = video.read_bytes()
    video.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(DataError, match=r"walk\.mp4: cannot be decoded as a video"):
        extract_frames(video, tmp_path / "frames", 3)


def test_a_single_frame_is_no_scene(tmp_path: Path) -> None:
    video = write_video(tmp_path / "still.mp4", count=1)
    with pytest.raises(DataError, match=r"still\.mp4: holds 1 frames; a scene needs at least 2"):
        extract_frames(video, tmp_path / "frames", 3)
