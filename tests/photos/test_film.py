# SPDX-License-Identifier: Apache-2.0
"""Videos as phones and programs make them: frames at varying times, a cover picture, other streams, edit lists, turned
and mirrored pictures, pixels that are not square, files that end early, and files that are no videos."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import av.stream
import cv2
import numpy as np
import pytest

from sparse3d.errors import DataError
from sparse3d.load.config import SceneConfig
from sparse3d.load.parsers import PARSERS, Work
from sparse3d.photos.files import decode
from sparse3d.photos.film import survey_film
from sparse3d.photos.video import extract_frames, frame_notes

WIDTH, HEIGHT = 96, 64


def number_picture(number: int) -> np.ndarray:
    """A picture [H,W,3] whose grey says its number: 8 levels a frame."""
    return np.full((HEIGHT, WIDTH, 3), 16 + 8 * number, np.uint8)


def write(
    path: Path, pictures: Sequence[np.ndarray], times: Sequence[int] | None = None, *, sound: bool = False, **context
) -> Path:
    """MPEG-4 film at 30 frames a second, or with the times given in thousandths of a second."""
    options = {"movflags": "faststart"} if path.suffix in (".mp4", ".mov") else {}
    with av.open(str(path), "w", options=options) as container:
        other = container.add_stream("pcm_s16le", rate=8000, layout="mono") if sound else None
        stream = container.add_stream("mpeg4", rate=30, options=context.pop("options", {}))
        stream.width, stream.height, stream.pix_fmt = pictures[0].shape[1], pictures[0].shape[0], "yuv420p"
        stream.bit_rate = 4_000_000
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000 if times else 30)
        for key, value in context.items():
            setattr(stream.codec_context, key, value)
        for number, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = times[number] if times else number
            frame.time_base = stream.codec_context.time_base
            container.mux(stream.encode(frame))
            if other is not None:
                heard = av.AudioFrame.from_ndarray(np.zeros((1, 267), np.int16), format="s16", layout="mono")
                heard.sample_rate = 8000
                container.mux(other.encode(heard))
        container.mux(stream.encode())
    return path


def numbers(paths: list[Path]) -> list[int]:
    """The frames' numbers as their grey says them."""
    return [round((float(decode(path)[0].mean()) - 16) / 8) for path in paths]


def boxes(data: bytes) -> list[tuple[bytes, bytes]]:
    """(name, whole box) of the boxes of an ISO media file in a row."""
    out, at = [], 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        out.append((data[at + 4 : at + 8], data[at : at + size]))
        at += size
    return out


def test_intervals_are_of_time_not_of_frames(tmp_path: Path) -> None:
    """A burst of 16 frames in half a second, then 8 in the next 8 seconds."""
    times = [*range(0, 512, 32), *range(1500, 9500, 1000)]
    video = write(tmp_path / "v.mp4", [number_picture(k) for k in range(24)], times)
    film = survey_film(video)
    assert film.total == 24
    found = numbers(extract_frames(video, tmp_path / "frames", 8))
    # By number of frames the first five of eight would be of the burst.
    assert sum(k < 16 for k in found) == 1
    assert found[1:] == [16, 17, 18, 19, 20, 21, 22] or found[1:] == [17, 18, 19, 20, 21, 22, 23]


def test_times_that_leave_most_intervals_empty_count_for_nothing(tmp_path: Path) -> None:
    """A clock that jumps by an hour: by time nearly all frames would fall into the first interval."""
    times = [*range(0, 400, 40), *range(3_600_000, 3_600_400, 40)]
    video = write(tmp_path / "v.mkv", [number_picture(k) for k in range(20)], times)
    assert numbers(extract_frames(video, tmp_path / "frames", 10)) == list(range(0, 20, 2))


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".avi"])
@pytest.mark.parametrize("between", ["0", "2"], ids=["no B-frames", "B-frames"])
def test_every_frame_once_and_in_order(tmp_path: Path, suffix: str, between: str) -> None:
    """Times in Matroska are rounded to thousandths of a second; AVI has none for B-frames."""
    video = write(tmp_path / f"v{suffix}", [number_picture(k) for k in range(24)], options={"bf": between})
    assert numbers(extract_frames(video, tmp_path / "all", 60)) == list(range(24))
    assert len(extract_frames(video, tmp_path / "some", 8)) == 8


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_picture_beside_the_film_is_not_it(tmp_path: Path, suffix: str) -> None:
    """In MP4 it is marked as the cover; in Matroska it is a second film of one frame, larger than the first."""
    video = write(tmp_path / f"v{suffix}", [number_picture(k) for k in range(12)])
    path = tmp_path / f"cover{suffix}"
    cover = cv2.imencode(".jpg", np.full((400, 400, 3), 90, np.uint8))[1].tobytes()
    with av.open(str(video)) as source, av.open(str(path), "w") as container:
        film = container.add_stream_from_template(source.streams.video[0])
        picture = container.add_stream("mjpeg", rate=1)
        picture.width, picture.height, picture.pix_fmt = 400, 400, "yuvj420p"
        picture.disposition = av.stream.Disposition.attached_pic
        packet = av.Packet(cover)
        packet.stream, packet.pts, packet.dts, packet.time_base = picture, 0, 0, Fraction(1, 1000)
        container.mux(packet)
        for packet in source.demux(source.streams.video[0]):
            if packet.size:
                packet.stream = film
                container.mux(packet)
    if suffix == ".mp4":
        # Where the picture's box comes first, FFmpeg numbers the picture 0 and the film 1.
        out = b""
        for name, box in boxes(path.read_bytes()):
            if name == b"moov":
                inner = sorted(boxes(box[8:]), key=lambda item: item[0] != b"udta")
                box = box[:8] + b"".join(part for _, part in inner)
            out += box
        path.write_bytes(out)
        with av.open(str(path)) as container:
            assert container.streams.video[0].disposition & av.stream.Disposition.attached_pic
    paths = extract_frames(path, tmp_path / "frames", 60)
    assert numbers(paths) == list(range(12))
    assert decode(paths[0])[0].shape == (HEIGHT, WIDTH, 3)


def test_data_streams_are_passed_over(tmp_path: Path) -> None:
    """A track of sound, written anew as one of a phone's gyroscope."""
    video = write(tmp_path / "v.mov", [number_picture(k) for k in range(12)], sound=True)
    data = video.read_bytes().replace(b"soun", b"meta").replace(b"sowt", b"mebx")
    video.write_bytes(data)
    with av.open(str(video)) as container:
        assert [stream.type for stream in container.streams] == ["data", "video"]
    assert numbers(extract_frames(video, tmp_path / "frames", 60)) == list(range(12))


@pytest.mark.parametrize("between", ["0", "2"], ids=["no B-frames", "B-frames"])
def test_what_an_edit_list_cuts_away_is_not_used(tmp_path: Path, between: str) -> None:
    video = write(tmp_path / "v.mp4", [number_picture(k) for k in range(24)], options={"bf": between, "g": "4"})
    data = bytearray(video.read_bytes())
    at = data.index(b"elst")
    # ISO/IEC 14496-12, 8.6.6: version and flags, the number of entries, then the segment's duration and its start.
    start = int.from_bytes(data[at + 16 : at + 20], "big")
    with av.open(str(video)) as container:
        per_frame = round(1 / (container.streams.video[0].time_base * 30))  # type: ignore[operator]
    data[at + 16 : at + 20] = (start + 6 * per_frame).to_bytes(4, "big")
    video.write_bytes(bytes(data))
    assert numbers(extract_frames(video, tmp_path / "frames", 60)) == list(range(6, 24))


@pytest.mark.parametrize(("shape", "size"), [((4, 3), (128, 64)), ((2, 3), (64, 64)), ((1, 1), (96, 64))])
def test_pixels_that_are_not_square(tmp_path: Path, shape: tuple[int, int], size: tuple[int, int]) -> None:
    """A circle that the film stores squeezed is round in the frames."""
    width, height = size
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    disc = ((x + 0.5) * width / WIDTH - width / 2) ** 2 + (y + 0.5 - HEIGHT / 2) ** 2 < 20**2
    picture = np.where(disc[..., None], 220, 30).astype(np.uint8).repeat(3, axis=2)
    video = write(tmp_path / "v.mp4", [picture] * 4, sample_aspect_ratio=Fraction(*shape))
    rgb, _ = decode(extract_frames(video, tmp_path / "frames", 2)[0])
    assert rgb.shape == (height, width, 3)
    bright = rgb[:, :, 1] > 125
    across, down = bright.any(axis=0).sum(), bright.any(axis=1).sum()
    assert abs(int(across) - 40) <= 1
    assert abs(int(down) - 40) <= 1


MATRICES = [(a, 0, 0, d) for a in (1, -1) for d in (1, -1)] + [(0, b, c, 0) for b in (1, -1) for c in (1, -1)]


@pytest.mark.parametrize("matrix", MATRICES)
def test_turned_and_mirrored(tmp_path: Path, matrix: tuple[int, int, int, int]) -> None:
    """All eight display matrices: the corner that is red goes where x' = a x + c y, y' = b x + d y puts it."""
    picture = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    picture[:32, :32] = (220, 30, 30)
    video = write(tmp_path / "v.mp4", [picture] * 4)
    data = bytearray(video.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    a, b, c, d = matrix
    shift_x = WIDTH * (a < 0) + HEIGHT * (c < 0)
    shift_y = HEIGHT * (d < 0) + WIDTH * (b < 0)
    values = (a << 16, b << 16, 0, c << 16, d << 16, 0, shift_x << 16, shift_y << 16, 0x40000000)
    data[at : at + 36] = b"".join(value.to_bytes(4, "big", signed=True) for value in values)
    video.write_bytes(bytes(data))
    rgb, _ = decode(extract_frames(video, tmp_path / "frames", 2)[0])
    assert rgb.shape[:2] == ((HEIGHT, WIDTH) if a else (WIDTH, HEIGHT))
    right, bottom = (a or c) < 0, (b or d) < 0
    for at_right, at_bottom in itertools.product((False, True), repeat=2):
        y, x = (-16 if at_bottom else 16), (-16 if at_right else 16)
        assert (rgb[y, x, 0] > 180) == ((at_right, at_bottom) == (right, bottom))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
def test_a_file_that_ends_early(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 40, (90, HEIGHT, WIDTH, 3), np.uint8)
    pictures = [np.clip(number_picture(k // 4) + noise[k], 0, 255).astype(np.uint8) for k in range(90)]
    video = write(tmp_path / f"v{suffix}", pictures)
    assert frame_notes_of(video, tmp_path / "whole") == ()
    data = video.read_bytes()
    video.write_bytes(data[: len(data) // 2])
    paths = extract_frames(video, tmp_path / "frames", 60)
    assert 20 < len(paths) < 60
    note = frame_notes(tmp_path / "frames")[0]
    assert f"v{suffix} ends early" in note
    assert "the frames until there are used" in note


def frame_notes_of(video: Path, folder: Path) -> tuple[str, ...]:
    extract_frames(video, folder, 10)
    return frame_notes(folder)


def test_damage_in_the_middle_costs_a_few_frames(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (30, HEIGHT, WIDTH, 3), np.uint8)
    video = write(tmp_path / "v.mp4", list(noise), options={"g": "1"})
    data = bytearray(video.read_bytes())
    at = data.index(b"mdat") + 4
    with av.open(str(video)) as container:
        sizes = [packet.size for packet in container.demux(container.streams.video[0]) if packet.size]
    begin = at + sum(sizes[:10])
    data[begin : begin + sizes[10]] = bytes(sizes[10])
    video.write_bytes(bytes(data))
    paths = extract_frames(video, tmp_path / "frames", 60)
    assert len(paths) == 29
    assert frame_notes(tmp_path / "frames") == ("frames of v.mp4 that are damaged and left out: 1",)


def test_apple_double_twins(tmp_path: Path) -> None:
    video = write(tmp_path / "IMG_0001.MOV", [number_picture(k) for k in range(4)])
    twin = tmp_path / "._IMG_0001.MOV"
    twin.write_bytes(b"\x00\x05\x16\x07" + bytes(4092))
    parser = PARSERS["video"]
    assert parser.sniff(tmp_path) == "it holds the video IMG_0001.MOV"
    scene = parser.parse(tmp_path, SceneConfig(), Work(tmp_path / "run", None))
    assert len(scene.photos) == 4
    with pytest.raises(DataError, match=r"what macOS keeps beside a file \(AppleDouble\); give IMG_0001.MOV itself"):
        extract_frames(twin, tmp_path / "frames", 4)
    write(tmp_path / "IMG_0002.MOV", [number_picture(k) for k in range(4)])
    scene = parser.parse(tmp_path, SceneConfig(), Work(tmp_path / "run", None))
    assert f"1 of 2 videos in {tmp_path.name}/ is used, IMG_0001.MOV; give another as the scene" in scene.notes
    assert video.is_file()


def test_dolby_vision_without_a_picture_for_others_is_named(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx265", rate=30, options={"x265-params": "log-level=none"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p10le"
        for number in range(4):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(number_picture(number), format="rgb24")))
        container.mux(stream.encode())
    assert frame_notes_of(path, tmp_path / "plain") == ()
    path.write_bytes(path.read_bytes().replace(b"hev1", b"dvhe"))
    (note,) = frame_notes_of(path, tmp_path / "dolby")
    assert note.startswith("v.mp4 is Dolby Vision without a picture for other players: its colours will be wrong")


def without_index(path: Path) -> bytes:
    return b"".join(box for name, box in boxes(path.read_bytes()) if name != b"moov")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "it is empty; copy it again"),
        (
            cv2.imencode(".jpg", number_picture(3))[1].tobytes(),
            "it is a picture; give a video, or a folder of pictures",
        ),
        (b"hello" * 30, "it is damaged or of another kind; a video is expected"),
        (None, r"its index \(moov\) is missing, so the recording or the copy was cut off; copy it again, or repair it"),
    ],
)
def test_what_is_no_video_is_said(tmp_path: Path, content: bytes | None, sentence: str) -> None:
    path = tmp_path / "v.mp4"
    write(path, [number_picture(k) for k in range(4)])
    path.write_bytes(without_index(path) if content is None else content)
    with pytest.raises(DataError, match=sentence):
        extract_frames(path, tmp_path / "frames", 4)
