# SPDX-License-Identifier: Apache-2.0
"""Videos that play everywhere: read back with PyAV and byte by byte."""

from __future__ import annotations

import struct
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from sparse3d.cli.video import write_pictures, write_video
from sparse3d.errors import DataError


def frames(count: int, width: int = 64, height: int = 48) -> list[np.ndarray]:
    """A bright bar that moves over four fields of colour."""
    out = []
    for i in range(count):
        picture = np.zeros((height, width, 3), np.uint8)
        picture[:, : width // 2] = (200, 30, 40)
        picture[:, width // 2 :] = (20, 180, 90)
        picture[: height // 4, :, 2] = 250
        picture[:, i % width] = 255
        out.append(picture)
    return out


def top_level_atoms(data: bytes) -> list[str]:
    names, at = [], 0
    while at < len(data):
        size, name = struct.unpack(">I4s", data[at : at + 8])
        names.append(name.decode())
        at += size
    return names


def test_video_is_h264_yuv420p_with_its_index_first(tmp_path: Path) -> None:
    path = tmp_path / "ein Ordner" / "été.mp4"
    pictures = frames(23)
    assert write_video(path, iter(pictures), fps=24) == 23
    atoms = top_level_atoms(path.read_bytes())
    assert atoms.index("moov") < atoms.index("mdat")
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert (stream.width, stream.height, stream.average_rate) == (64, 48, 24)
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    assert len(decoded) == 23
    for i in (0, 11, 22):
        # Away from the edges, where chroma at half size mixes.
        for y, x in ((30, 10), (30, 50), (4, 50)):
            if abs(x - i) > 3:
                assert np.abs(decoded[i][y, x].astype(int) - pictures[i][y, x]).max() < 12, (i, y, x)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_odd_sizes_changing_sizes_and_nothing(tmp_path: Path) -> None:
    for bad, message in [
        (frames(1, 63, 48), "63x48 cannot be yuv420p"),
        ([*frames(1), *frames(1, 32, 48)], r"frame 1 has the shape \(48, 32, 3\)"),
        ([], "needs at least one frame"),
    ]:
        with pytest.raises(DataError, match=message):
            write_video(tmp_path / "a.mp4", bad)
    assert list(tmp_path.iterdir()) == []


def test_a_failing_source_leaves_the_old_video(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_video(path, frames(2))
    before = path.read_bytes()

    def broken():
        yield frames(1)[0]
        raise RuntimeError("no more pictures")

    with pytest.raises(RuntimeError, match="no more pictures"):
        write_video(path, broken())
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_pictures_are_lossless(tmp_path: Path) -> None:
    pictures = frames(3, 33, 21)
    assert write_pictures(tmp_path / "p é", pictures) == 3
    assert sorted(p.name for p in (tmp_path / "p é").iterdir()) == ["00000.png", "00001.png", "00002.png"]
    for i, picture in enumerate(pictures):
        with Image.open(tmp_path / "p é" / f"{i:05d}.png") as image:
            assert np.array_equal(np.asarray(image), picture)
