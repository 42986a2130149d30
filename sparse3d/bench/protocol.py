# SPDX-License-Identifier: Apache-2.0
"""The published protocols with few views: what each of them wants of a scene, and whether this scene has it.

Which photos train and test is decided in load/views.py. Sources: RegNeRF (Niemeyer et al. 2022) for LLFF and DTU, FSGS
(Zhu et al. 2023) for Mip-NeRF 360, DietNeRF (Jain et al. 2021) for Blender.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from sparse3d.errors import DataError, UsageError
from sparse3d.load.config import SceneConfig
from sparse3d.load.views import DTU_PHOTOS

# Photos of the published scenes.
LLFF_PHOTOS = {
    "fern": 20, "flower": 34, "fortress": 42, "horns": 62, "leaves": 26, "orchids": 25, "room": 41, "trex": 55,
}  # fmt: skip
MIP360_PHOTOS = {
    "bicycle": 194, "bonsai": 292, "counter": 240, "garden": 185, "kitchen": 279, "room": 311, "stump": 125,
}  # fmt: skip
BLENDER_SCENES = ("chair", "drums", "ficus", "hotdog", "lego", "materials", "mic", "ship")
BLENDER_PHOTOS = {"train": 100, "test": 200}
DTU_SCANS = (8, 21, 30, 31, 34, 38, 40, 41, 45, 55, 63, 82, 103, 110, 114)
SIZES = {"llff": (504, 378), "dtu": (400, 300), "blender": (400, 400)}
# Numbers of views that results are published for.
VIEWS = {"llff": (2, 3, 6, 9), "dtu": (3, 6, 9), "blender": (8,), "every8": (12, 24)}
# Colour behind transparent pixels and outside of masks.
BACKGROUNDS = {"dtu": "black", "blender": "white"}


@dataclass(frozen=True)
class SceneFacts:
    """What a scene's files say before a photo is decoded. name: the folder's. photos_in: the photos' own folder.
    names, splits: the sorted photos and what the scene itself says of each. sizes: (width, height) of the files, the
    most common first; loaded: the same after --max-side or --downscale."""

    name: str
    kind: str
    photos_in: str
    names: tuple[str, ...]
    splits: tuple[str | None, ...]
    sizes: tuple[tuple[int, int], ...]
    loaded: tuple[tuple[int, int], ...]
    masks: int
    posed: bool


def examine(path: Path, cfg: SceneConfig) -> SceneFacts:
    """The facts of the scene at `path`. Raises DataError for a video, and for a scene whose points may come from any
    photo."""
    from sparse3d.load.parsers.parser import Work
    from sparse3d.load.scene import final_size, find_kind
    from sparse3d.photos.files import photo_info
    from sparse3d.photos.masks import find_masks

    parser, _ = find_kind(path, cfg.kind)
    if parser.kind == "video":
        raise DataError(f"{path}: is a video; `bench quality` needs a scene whose photos stay the same: a folder")
    parsed = parser.parse(path, cfg, Work(None, None))
    if parsed.points is not None and not parsed.points_from_all_photos:
        raise DataError(
            f"{path}: the scene brings points and does not say which photos they come from, so held-out photos may "
            "have helped; take the points out of the scene"
        )
    photos, _ = find_masks(parsed.root, parsed.photos)
    sizes = Counter(photo_info(photo.path).size(bool(photo.upright)) for photo in photos)
    common = tuple(size for size, _ in sizes.most_common())
    resolved = path.resolve()
    return SceneFacts(
        name=resolved.parent.name if resolved.suffix.lower() == ".json" else resolved.name,
        kind=parser.kind,
        photos_in=photos[0].path.parent.name,
        names=tuple(photo.name for photo in photos),
        splits=tuple(photo.split for photo in photos),
        sizes=common,
        loaded=tuple(dict.fromkeys(final_size(*size, cfg) for size in common)),
        masks=sum(photo.mask_path is not None or photo.alpha_is_mask for photo in photos),
        posed=all(photo.camera is not None for photo in photos),
    )


def default_options(protocol: str) -> dict[str, str]:
    """Options that the protocol wants of the train command, by name without the dashes."""
    options = {} if protocol == "none" else {"protocol": protocol}
    if protocol in SIZES:
        options["max-side"] = str(max(SIZES[protocol]))
    if protocol in BACKGROUNDS:
        options["background"] = BACKGROUNDS[protocol]
    return options


def check_no_leak(cfg: SceneConfig) -> None:
    """Raises UsageError for settings with which the start of training would see photos that are held out."""
    if cfg.points is not None:
        raise UsageError(
            f"--points {cfg.points}: nobody knows which photos given points come from, and held-out ones may have "
            "helped; `bench quality` starts from the training photos alone, so leave the option out"
        )
    if cfg.views == "all":
        raise UsageError(
            "--views all: cameras that come from structure from motion would be found from the held-out photos too; "
            "give `bench quality` numbers of views"
        )


def adaptations(facts: SceneFacts, protocol: str, views: int, cfg: SceneConfig) -> tuple[str, ...]:
    """Why results of this scene are not strictly comparable with published ones; empty if the protocol is met exactly.

    cfg: the scene's settings as resolved for the run.
    """
    if protocol == "none":
        return ("no published protocol",)
    found = {"llff": _llff, "dtu": _dtu, "blender": _blender, "every8": _every8}[protocol](facts)
    if not facts.posed:
        found.append("cameras from structure from motion of the training photos")
    found += _size(facts, protocol, cfg)
    wanted = BACKGROUNDS.get(protocol)
    if wanted is not None and cfg.background != wanted:
        found.append(f"background {cfg.background}, not {wanted}")
    if views not in VIEWS[protocol]:
        found.append(f"published with {_listed(VIEWS[protocol])} views, not {views}")
    return tuple(found)


def verdict(reasons: tuple[str, ...]) -> str:
    """`exact`, or `adapted: why`."""
    return f"adapted: {'; '.join(reasons)}" if reasons else "exact"


def _llff(facts: SceneFacts) -> list[str]:
    return _count(facts, LLFF_PHOTOS, "the 8 LLFF scenes")


def _every8(facts: SceneFacts) -> list[str]:
    found = _count(facts, MIP360_PHOTOS, "the 7 Mip-NeRF 360 scenes")
    if not found and facts.photos_in not in ("images_8", "images_4"):
        found.append(f"photos from {facts.photos_in}, not images_8 or images_4")
    return found


def _count(facts: SceneFacts, known: dict[str, int], where: str) -> list[str]:
    name = _known_name(facts.name, known)
    if name is None:
        return [f"{facts.name} is not one of {where}"]
    have = len(facts.names)
    return [] if have == known[name] else [f"{have} of {known[name]} photos"]


def _dtu(facts: SceneFacts) -> list[str]:
    found = []
    scan = re.search(r"scan_?(\d+)", facts.name.lower())
    if scan is None or int(scan[1]) not in DTU_SCANS:
        who = facts.name if scan is None else f"scan{scan[1]}"
        found.append(f"{who} is not one of the {len(DTU_SCANS)} published scans")
    if facts.masks < min(DTU_PHOTOS, len(facts.names)):
        found.append(f"masks for {facts.masks} of {len(facts.names)} photos, published with masks")
    return found


def _blender(facts: SceneFacts) -> list[str]:
    if _known_name(facts.name, BLENDER_SCENES) is None:
        return [f"{facts.name} is not one of the {len(BLENDER_SCENES)} Blender scenes"]
    have = Counter("train" if split is None else split for split in facts.splits)
    missing = [
        f"{have[split]} of {count} {'training' if split == 'train' else 'test'} photos"
        for split, count in BLENDER_PHOTOS.items()
        if have[split] != count
    ]
    return [", ".join(missing)] if missing else []


def _size(facts: SceneFacts, protocol: str, cfg: SceneConfig) -> list[str]:
    if protocol not in SIZES:
        return ["photos resized"] if facts.loaded != facts.sizes else []
    if facts.loaded == (SIZES[protocol],):
        # The published sizes are an eighth, a quarter and half of the camera's: whole divisions.
        odd = [size for size in facts.sizes if size[0] % SIZES[protocol][0]]
        return [f"photos resized from {odd[0][0]}x{odd[0][1]}"] if odd else []
    shown = _listed([f"{width}x{height}" for width, height in facts.loaded[:3]])
    return [f"photos of {shown}, published at {'x'.join(map(str, SIZES[protocol]))}"]


def _known_name(name: str, known: dict[str, int] | tuple[str, ...]) -> str | None:
    """The published scene whose name is one of the words of the folder's name."""
    words = re.split(r"[^a-z0-9]+", name.lower())
    return next((word for word in words if word in known), None)


def _listed(values: tuple[int, ...] | list[str]) -> str:
    texts = [str(value) for value in values]
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"
