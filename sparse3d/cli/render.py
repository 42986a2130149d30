# SPDX-License-Identifier: Apache-2.0
"""`sparse3d render`: a video or pictures along a path of cameras."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from sparse3d.cli.parse import parse
from sparse3d.cli.terminal import Bar, say
from sparse3d.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sparse3d.camera import Camera
    from sparse3d.records.frame import Frame
    from sparse3d.splats import Splats

_PATHS = ("orbit", "interpolate")


@dataclass(frozen=True)
class Args:
    """Draw a trained scene along a path of cameras, as an H.264 video or as PNG pictures."""

    what: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN|FILE")]
    """Run folder, or a file of splats."""
    path: str = "orbit"
    """orbit (around what the training cameras look at), interpolate (through the training cameras), or a file like a
    run's cameras.json with the cameras to draw."""
    out: str | None = None
    """A name that ends in .mp4, or a folder for pictures (default: PATH.mp4 in the run folder or beside the file)."""
    frames: int = 120
    """Number of pictures of orbit and interpolate."""
    fps: float = 30.0
    """Pictures a second of a video."""
    crf: int = 18
    """Quality of a video: 0 lossless, 18 hard to tell from that, 51 worst."""
    size: str | None = None
    """Size of the pictures, as 1280x720 (default: that of the training cameras); the vertical field of view stays."""
    background: Literal["black", "white"] = "black"
    """Colour behind the splats."""
    backend: Literal["auto", "cpu", "reference"] = "auto"
    """Kernels: auto is cpu; reference is plain torch, slow and exact."""
    threads: int = 0
    """Threads of the kernels (0: one a core)."""
    drop_invalid: bool = False
    """Leave out splats that hold NaN or infinite values, and count them."""
    overwrite: bool = False
    """Write into a folder that already holds something."""


def main(words: Sequence[str]) -> int:
    args = parse(Args, words, prog="render")
    if args.frames < 1:
        raise UsageError(f"--frames {args.frames}: must be 1 or more")
    if not 0.1 <= args.fps <= 1000 or not 0 <= args.crf <= 51:
        raise UsageError(f"--fps {args.fps:g} --crf {args.crf}: fps is 0.1 to 1000, crf 0 to 51")
    size = parse_size(args.size) if args.size else None
    out = _out(args)
    is_video = out.suffix.lower() == ".mp4"
    if not is_video and out.is_dir() and any(out.iterdir()) and not args.overwrite:
        raise UsageError(f"{out}: is not empty; add --overwrite to write into it all the same, or choose another --out")
    from sparse3d import formats
    from sparse3d.cli import video
    from sparse3d.records.frame import frame_of_splats
    from sparse3d.runs.finished import splat_file

    if is_video:
        video.require_encoder()
    splats, left_out = formats.read_with_notes(splat_file(args.what), drop_invalid=args.drop_invalid)
    for note in left_out:
        say(f"note: {note}")
    frame = frame_of_splats(splats)
    cameras = [_sized(camera, size, even=is_video) for camera in _cameras(args, splats, frame)]
    splats = frame.splats_in(splats)
    say(f"{len(cameras)} pictures of {cameras[0].width}x{cameras[0].height}, {splats.num_splats:,} splats")
    pictures = _draw(args, splats, cameras)
    if is_video:
        count = video.write_video(out, pictures, fps=args.fps, crf=args.crf)
    else:
        count = video.write_pictures(out, pictures)
    say(f"{count} pictures written")
    print(out)
    return 0


def _draw(args: Args, splats: Splats, cameras: Sequence[Camera]) -> Iterator[NDArray[np.uint8]]:
    from sparse3d.kernels import cpu
    from sparse3d.render import RenderOptions, render_many

    backend = None if args.backend == "auto" else args.backend
    if backend != "reference":
        cpu.set_threads(args.threads)
    with Bar("drawing") as bar:
        options = RenderOptions(background=args.background, backend=backend)
        for i, rendering in enumerate(render_many(splats, cameras, options)):
            yield (rendering.image.clamp(0.0, 1.0) * 255.0).round().byte().numpy()
            bar.show((i + 1) / len(cameras), f"{i + 1} of {len(cameras)}")


def _cameras(args: Args, splats: Splats, frame: Frame) -> list[Camera]:
    """The cameras to draw, in the frame."""
    from sparse3d.render import camera_path
    from sparse3d.render.camera_file import read_camera_file
    from sparse3d.runs.finished import cameras_beside

    if args.path not in _PATHS:
        if not args.path.lower().endswith(".json"):
            raise UsageError(f"--path {args.path!r}: give orbit, interpolate, or a .json file of cameras")
        return [frame.camera_in(named.camera, named.origin) for named in read_camera_file(Path(args.path))]
    named = cameras_beside(args.what)
    if named:
        chosen = [item for item in named if item.split == "train"] or named
        cameras = [frame.camera_in(item.camera, item.origin) for item in chosen]
    elif args.path == "orbit":
        cameras = camera_path.cameras_around(frame.splats_in(splats).means.double().numpy())
    else:
        raise UsageError(
            f"--path interpolate needs the training cameras: a cameras.json beside {args.what}. There is none; use "
            "--path orbit"
        )
    make = camera_path.orbit if args.path == "orbit" else camera_path.interpolate
    return make(cameras, args.frames)


def _sized(camera: Camera, size: tuple[int, int] | None, *, even: bool) -> Camera:
    """The camera at the size asked for, same vertical field of view, square pixels; a video needs even sides."""
    from dataclasses import replace

    if size is not None:
        width, height = size
        focal = camera.fy * height / camera.height
        camera = replace(camera, width=width, height=height, fx=focal, fy=focal, cx=width / 2, cy=height / 2)
    if even:
        camera = camera.resized(max(2, camera.width - camera.width % 2), max(2, camera.height - camera.height % 2))
    return camera


def parse_size(text: str) -> tuple[int, int]:
    """(width, height) of "1280x720". Raises UsageError."""
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.isascii() and part.isdigit() for part in parts):
        raise UsageError(f"--size {text!r}: give width and height in pixels, as 1280x720")
    width, height = int(parts[0]), int(parts[1])
    if not (1 <= width <= 16384 and 1 <= height <= 16384):
        raise UsageError(f"--size {text}: width and height must be 1 to 16384 pixels")
    return width, height


def _out(args: Args) -> Path:
    if args.out is None:
        name = args.path if args.path in _PATHS else Path(args.path).stem
        return args.what / f"{name}.mp4" if args.what.is_dir() else args.what.with_name(f"{args.what.stem}-{name}.mp4")
    out = Path(args.out)
    suffix = out.suffix.lower()
    if suffix in ("", ".mp4") or args.out.endswith(("/", "\\")) or out.is_dir():
        return out
    raise UsageError(f"--out {args.out}: give a name that ends in .mp4, or a folder for pictures (with / at its end)")
