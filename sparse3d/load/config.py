# SPDX-License-Identifier: Apache-2.0
"""The settings of scene loading. The text under each field is its help on the command line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sparse3d.errors import UsageError


@dataclass(frozen=True)
class SceneConfig:
    """What to take from a scene and at what size. Raises UsageError for values that cannot be meant."""

    kind: str = "auto"
    """Kind of scene: auto looks at the files; else transforms, colmap, blender, neus, llff, middlebury, pose_files,
    photos or video."""
    views: str = "all"
    """Training photos: all, a number (evenly spread over those not held out), positions in the sorted names (22,25,28;
    a single one with a comma: 22,) or names (name:IMG_01.jpg)."""
    test: str | None = None
    """Photos to hold out: positions in the sorted names (3,11) or names (name:IMG_01.jpg), whatever the scene itself
    says; photos that the scene holds out then do not train either."""
    test_every: int | None = None
    """Hold out every N-th of the sorted photos for testing, whatever the scene itself says; 0 holds out none."""
    protocol: Literal["none", "llff", "dtu", "blender", "every8"] = "none"
    """A published split: which photos train and which test."""
    downscale: float | None = None
    """Divide the photos' width and height by this, 1 or more."""
    max_side: int | Literal["auto", "full"] = "full"
    """Shrink photos so that the longer side is at most this many pixels; smaller ones stay as they are. full: all keep
    their size. auto: what the number of photos, their sharpness and --auto-side carry."""
    auto_side: int = 960
    """The longer side that --max-side auto gives 12 sharp photos or more; fewer get less."""
    points: Path | None = None
    """PLY file with initial points in the scene's world frame."""
    k4: Literal["auto", "radial", "opencv"] = "auto"
    """What k4 of a transforms.json means: radial is the fourth radial power (nerfstudio, Metashape, RealityScan),
    opencv the divisor 1 + k4 r^2. auto: opencv where camera_model is FULL_OPENCV or k5 or k6 is there, else radial."""
    prior_masks: Path | None = None
    """Folder of masks named like the photos (white = keep), instead of any beside the photos."""
    prior_matches: Path | None = None
    """Matches of your own between the photos, used beside ours: a COLMAP database, or an npz with names [P,2] and
    xy_0, xy_1, ... [M,4]."""
    background: Literal["white", "black"] = "white"
    """What lies behind transparent pixels."""
    alpha: Literal["composite", "mask"] = "composite"
    """A photo's alpha channel: composite puts it over the background, mask also leaves transparent pixels out of loss
    and metrics."""
    cache_mb: int = 2048
    """Memory for decoded photos; those that do not fit are decoded again when they are needed."""
    video_frames: int = 60
    """Frames to take from a video, the sharpest of equal intervals."""
    seed: int = 0
    """Seed of structure from motion."""

    def __post_init__(self) -> None:
        if self.downscale is not None and not 1.0 <= self.downscale <= 1000.0:
            raise UsageError(
                f"--downscale {self.downscale:g}: must be 1 (full size) or more; photos are never enlarged"
            )
        for name in ("max_side", "auto_side"):
            side = getattr(self, name)
            if isinstance(side, int) and side < 16:
                raise UsageError(f"--{name.replace('_', '-')} {side}: must be 16 pixels or more")
        if self.downscale is not None and isinstance(self.max_side, int):
            raise UsageError("--downscale and --max-side were both given; give one of them")
        if self.test_every is not None and self.test_every < 0:
            raise UsageError(f"--test-every {self.test_every}: must be 0 (none) or a positive number")
        others = [
            name
            for name, given in (("--test-every", self.test_every is not None), ("--protocol", self.protocol != "none"))
            if given
        ]
        if self.test is not None and others:
            raise UsageError(f"--test and {others[0]} both say which photos are held out; give one of them")
        if self.cache_mb < 1:
            raise UsageError(f"--cache-mb {self.cache_mb}: must be 1 or more")
        if self.video_frames < 2:
            raise UsageError(f"--video-frames {self.video_frames}: must be 2 or more")
