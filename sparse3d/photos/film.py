# SPDX-License-Identifier: Apache-2.0
"""What a video file holds before any of its pictures is decoded: which stream is the film, and when its frames are.

A cover picture is a video stream of one frame (FFmpeg marks it); frames that an edit list cuts away are marked too.
Times come from the packets, so that a video whose frame rate varies, as phones film, is cut at equal times.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import av
import av.container
import av.error
import av.stream
import numpy as np
from av.video.stream import VideoStream

from sparse3d.errors import DataError

_PICTURES = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails
# Parts of a film of which frames are wanted, of which at least this share must hold any; else its times mean little.
_FILLED = 0.5
# Tags of Dolby Vision; where such a film names no transfer function (H.273), its colours are Dolby's own (profile 5).
_DOLBY, _UNSPECIFIED = ("dvh1", "dvhe", "dva1", "dvav", "dav1"), 2
# A container's length in time is that of its longest stream; a film that is shorter by less is whole.
_SHORTER_S = 1.0


@dataclass(frozen=True)
class Film:
    """The film of a video. stream: its index in the file; total: frames that play; times: of these, sorted, in the
    stream's units (None where the file has none that can be trusted); notes: sentences for the user."""

    stream: int
    total: int
    times: tuple[int, ...] | None
    notes: tuple[str, ...]

    def intervals(self, count: int) -> Intervals:
        """The film cut into `count` parts of equal time, or of equal numbers of frames where most parts of equal time
        would be empty."""
        if self.times is not None:
            gap = max(1, int(np.median(np.diff(self.times))))
            timed = Intervals(count, self.total, self.times[0], gap, self.times[-1] - self.times[0] + gap)
            if len({timed.of(0, t) for t in self.times}) >= _FILLED * count:
                return timed
        return Intervals(count, self.total)


@dataclass(frozen=True)
class Intervals:
    """`count` equal parts of a film. first, gap, span: the first frame's time, that between two frames, and the whole,
    in the stream's units; span 0: by number of frames."""

    count: int
    total: int
    first: int = 0
    gap: int = 0
    span: int = 0

    def of(self, number: int, time: int | None) -> int:
        """The part, from 0, into which the frame of this number and time falls."""
        if self.span and time is not None:
            # The middle of the frame's time on the screen: times in a file are rounded.
            part = (2 * (time - self.first) + self.gap) * self.count // (2 * self.span)
        else:
            part = number * self.count // self.total
        return min(max(part, 0), self.count - 1)


def survey_film(video: Path) -> Film:
    """Which stream of `video` is the film, and when its frames are. Raises DataError for a file without one."""
    with open_video(video) as container:
        films = [s for s in container.streams.video if not s.disposition & _PICTURES]
        if films and not any(_decodable(s) for s in films):
            raise DataError(f"{video}: holds a film in a coding that is not known here; convert it to MP4 (H.264)")
        films = [s for s in films if _decodable(s)]
        if not films:
            what = "a cover picture and sound" if container.streams.video else "sound or data"
            raise DataError(f"{video}: holds {what}, but no video stream; give the film that belongs to it")
        packets, broken = _packets(container, films)
        # A camera may add a small film for its own display, a program a picture as a film of one frame.
        moving = [s for s in films if len(packets[s.index]) > 1] or films
        stream = max(moving, key=lambda s: (s.width * s.height, -s.index))
        notes = _other_films(video, moving, stream)
        playing = [pts for pts, discarded in packets[stream.index] if not discarded]
        times = sorted(pts for pts in playing if pts is not None)
        trusted = len(times) == len(playing) and len(set(times)) > 0.5 * len(times)
        if stream.codec_tag in _DOLBY and int(stream.codec_context.color_trc) == _UNSPECIFIED:
            notes += (
                f"{video.name} is Dolby Vision without a picture for other players: its colours will be wrong; export "
                "it as HLG or SDR",
            )
        notes += _cut_off(video, container, stream, len(packets[stream.index]), times, broken)
        return Film(stream.index, len(playing), tuple(times) if trusted and len(times) > 1 else None, notes)


def _decodable(stream: VideoStream) -> bool:
    # Of a stream whose coding FFmpeg does not know there is no codec.
    return stream.codec_context is not None  # pyright: ignore[reportUnnecessaryComparison]


def open_video(video: Path) -> av.container.InputContainer:
    """The opened file. Raises DataError that says what the file is instead of a video."""
    try:
        container = av.open(str(video))
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise DataError(f"{video}: cannot be decoded as a video: {_what_it_is(video)} ({error})") from error
    if container.format.name == "image2" or container.format.name.endswith("_pipe"):
        container.close()
        raise DataError(
            f"{video}: cannot be decoded as a video: it is a picture; give a video, or a folder of pictures"
        )
    return container


def _packets(
    container: av.container.InputContainer, films: list[VideoStream]
) -> tuple[dict[int, list[tuple[int | None, bool]]], bool]:
    """For each stream (time, cut away by an edit list) of its packets, and whether reading ended with an error."""
    found: dict[int, list[tuple[int | None, bool]]] = {stream.index: [] for stream in films}
    try:
        for packet in container.demux(films):
            if packet.size:
                found[packet.stream.index].append((packet.pts, packet.is_discard))
    except (av.error.FFmpegError, OSError):
        return found, True
    return found, False


def _other_films(video: Path, films: list[VideoStream], taken: VideoStream) -> tuple[str, ...]:
    if len(films) < 2:
        return ()
    others = ", ".join(f"{s.width}x{s.height}" for s in films if s is not taken)
    return (
        f"{video.name} holds {len(films)} films; that of {taken.width}x{taken.height} is taken, not that of {others}",
    )


def _cut_off(
    video: Path, container: av.container.InputContainer, stream: VideoStream, count: int, times: list[int], broken: bool
) -> tuple[str, ...]:
    """A sentence where the file ends before its film does."""
    advice = "the frames until there are used; copy the file again to have the rest"
    if stream.frames > count:
        return (f"{video.name} ends early: {count} of its {stream.frames} frames are there; {advice}",)
    ends = float(times[-1] * stream.time_base) if times and stream.time_base else 0.0
    whole = container.duration / 1_000_000 if container.duration else 0.0
    begins = max(0.0, (container.start_time or 0) / 1_000_000)
    missing = whole + begins - ends
    # Where the header has no number of frames it may still say how long the file is.
    if times and not stream.frames and missing > _SHORTER_S + 0.1 * whole:
        return (f"{video.name} ends early: {ends:.1f} s of {whole:.1f} s are there; {advice}",)
    if broken:
        return (f"{video.name} ends early, in the middle of a frame; {advice}",)
    return ()


def _what_it_is(video: Path) -> str:
    """What the file is that FFmpeg cannot open, and what to do."""
    try:
        with video.open("rb") as file:
            head = file.read(16)
            boxes = _boxes(video)
    except OSError as error:
        return f"it cannot be read ({error.strerror}); check that you may read it"
    if not head:
        return "it is empty; copy it again"
    if head.startswith(b"\x00\x05\x16\x07"):
        name = video.name.removeprefix("._")
        return f"it is what macOS keeps beside a file (AppleDouble); give {name} itself"
    if boxes and "moov" not in boxes:
        return (
            "its index (moov) is missing, so the recording or the copy was cut off; copy it again, or repair it with "
            "a program such as untrunc"
        )
    return "it is damaged or of another kind; a video is expected (.mp4, .mov, .mkv, .webm, .avi)"


def _boxes(video: Path) -> list[str]:
    """The names of the top boxes of an ISO media file (ISO/IEC 14496-12, 4.2); empty for any other file."""
    names = []
    size = video.stat().st_size
    with video.open("rb") as file:
        at = 0
        while at + 8 <= size and len(names) < 64:
            file.seek(at)
            head = file.read(16)
            length = int.from_bytes(head[:4], "big")
            if length == 1:
                length = int.from_bytes(head[8:16], "big")
            if not names and head[4:8] not in (b"ftyp", b"wide", b"mdat", b"moov", b"skip", b"free"):
                return []
            names.append(head[4:8].decode("latin-1"))
            at += length if length >= 8 else size
    return names
