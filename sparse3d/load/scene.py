# SPDX-License-Identifier: Apache-2.0
"""From a path to a scene that can be trained on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sparse3d.camera import Camera
from sparse3d.errors import DataError
from sparse3d.formats import read_points
from sparse3d.formats.foreign import HEAD_BYTES, foreign_kind
from sparse3d.load.config import SceneConfig
from sparse3d.load.parsers import PARSERS, SceneParser, Work
from sparse3d.load.parsers.parsed_scene import ParsedScene
from sparse3d.load.training_size import training_size
from sparse3d.load.views import Split, split_views
from sparse3d.photos.files import decode, looks_complete, photo_info
from sparse3d.photos.masks import find_masks
from sparse3d.photos.photo import Photo
from sparse3d.photos.store import ImageStore
from sparse3d.photos.undistort import is_distorted, pinhole_camera
from sparse3d.records.frame import Frame, frame_of_cameras
from sparse3d.records.matches import Matches
from sparse3d.records.points import Points
from sparse3d.records.scene import Scene
from sparse3d.sfm.matches import read_matches

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Survey:
    """What lies at a path, before anything long is done with it: photos with their masks, sorted by name, and which of
    them train and test. notes: sentences for the user."""

    kind: str
    parsed: ParsedScene
    photos: tuple[Photo, ...]
    split: Split
    notes: tuple[str, ...]

    @property
    def has_cameras(self) -> bool:
        return any(photo.camera is not None for photo in self.photos)

    def sizes(self, indices: Sequence[int]) -> list[tuple[int, int]]:
        """(width, height) of photos on disk, in pixels."""
        photos = [self.photos[i] for i in indices]
        return [photo_info(photo.path).size(photo.upright is not False) for photo in photos]


def survey(
    path: Path, cfg: SceneConfig | None = None, *, progress: Progress | None = None, workdir: Path | None = None
) -> Survey:
    """The photos at `path`: a folder, a transforms.json, or a video, of which frames are taken. Raises as
    `load_scene`."""
    cfg = cfg or SceneConfig()
    _check_masks_folder(cfg)
    parser, notes = find_kind(Path(path), cfg.kind)
    parsed = parser.parse(Path(path), cfg, Work(workdir, progress))
    _check_complete(parsed.photos)
    photos, more = _with_masks(parsed, cfg)
    split = split_views(
        [p.name for p in photos],
        [p.split for p in photos],
        views=cfg.views,
        test_every=cfg.test_every,
        protocol=cfg.protocol,
        test=cfg.test,
    )
    return Survey(parser.kind, parsed, photos, split, (*notes, *parsed.notes, *more, split.note))


def load_scene(
    path: Path,
    cfg: SceneConfig | None = None,
    *,
    progress: Progress | None = None,
    workdir: Path | None = None,
    surveyed: Survey | None = None,
) -> Scene:
    """The scene at `path`: a folder, a transforms.json, or a video.

    Keeps no photo decoded yet. workdir: where structure from motion and frames of a video are kept and found again.
    surveyed: what `survey` found there, with settings that differ in the photos' size at most.
    Raises UsageError for settings that do not fit, DataError for what is wrong with the files.
    """
    cfg = cfg or SceneConfig()
    found = surveyed or survey(path, cfg, progress=progress, workdir=workdir)
    photos, split, notes = found.photos, found.split, found.notes
    matches, more = _given_matches(photos, cfg)
    notes += more
    if all(photo.camera is None for photo in photos):
        posed = _reconstructed(photos, split, cfg, matches, Work(workdir, progress))
    else:
        posed = _given(photos, split, found.parsed)
    notes += posed.notes
    points, more = _chosen_points(posed.points, cfg)
    photos, scaled = fit_cameras(posed.photos)
    notes += more + scaled
    frame, photos, points = _framed(photos, points, posed.camera_source)
    notes += frame_notes(frame)
    size = training_size([photos[i] for i in posed.split.train], cfg)
    notes += (size.reason,) if size.reason else ()
    cfg = replace(cfg, max_side="full" if size.side is None else size.side)
    cameras = tuple(_final_camera(photo.camera, cfg) for photo in photos if photo.camera is not None)
    return Scene(
        kind=found.kind,
        root=found.parsed.root,
        names=tuple(p.name for p in photos),
        cameras=cameras,
        images=ImageStore(photos, cameras, background=cfg.background, cache_mb=cfg.cache_mb),
        train=posed.split.train,
        test=posed.split.test,
        points=points,
        camera_source=posed.camera_source,
        has_masks=any(p.mask_path is not None or p.alpha_is_mask for p in photos),
        notes=notes,
        matches=matches,
        frame=frame,
    )


def _framed(
    photos: tuple[Photo, ...], points: Points | None, camera_source: str
) -> tuple[Frame, tuple[Photo, ...], Points | None]:
    """The frame that the scene is computed in, and photos and points there. Structure from motion has its own units and
    begins near its origin. All photos choose it, so that it is the same whichever train."""
    frame = Frame()
    if camera_source == "given":
        frame = frame_of_cameras([photo.camera for photo in photos if photo.camera is not None])
    moved = tuple(
        photo if photo.camera is None else replace(photo, camera=frame.camera_in(photo.camera)) for photo in photos
    )
    return frame, moved, None if points is None else replace(points, xyz=frame.points_in(points.xyz))


def frame_notes(frame: Frame) -> tuple[str, ...]:
    """Sentences on a frame other than the scene's own."""
    notes = ()
    if any(frame.origin):
        place = ", ".join(f"{v:.15g}" for v in frame.origin)
        notes += (
            f"the scene lies far from its origin: cameras and splats are counted from the local origin ({place}), "
            "which config.toml, cameras.json and splat.ply name",
        )
    if frame.scale != 1.0:
        change = f"{frame.scale:,.15g} times as large" if frame.scale > 1 else f"{1 / frame.scale:,.15g} times as small"
        notes += (f"the scene is computed {change}; what is written has its own units",)
    return notes


def _check_masks_folder(cfg: SceneConfig) -> None:
    if cfg.prior_masks is not None and not cfg.prior_masks.is_dir():
        found = "it is another kind of file" if cfg.prior_masks.exists() else "there is nothing of this name"
        raise DataError(f"--prior-masks {cfg.prior_masks}: a folder is expected, {found}; give one")


@dataclass(frozen=True)
class _Posed:
    """Photos with their cameras, the split into training and test photos that holds for them, and the points that come
    with the cameras."""

    photos: tuple[Photo, ...]
    split: Split
    points: Points | None
    camera_source: str
    notes: tuple[str, ...]


def find_kind(root: Path, kind: str = "auto") -> tuple[SceneParser, tuple[str, ...]]:
    """The parser for what lies at `root`, and a sentence saying why, with the other kinds that would fit."""
    if not root.exists():
        raise DataError(f"{root}: there is no such file or folder; check the path")
    fits = [(parser, why) for parser in PARSERS if (why := parser.sniff(root)) is not None]
    if kind != "auto":
        return PARSERS[kind], (f"scene {root.name or root}: read as {kind}, as --kind says",)
    if not fits:
        kinds = "; ".join(f"{p.kind}: {p.what}" for p in PARSERS)
        if root.is_file():
            with root.open("rb") as file:
                foreign = foreign_kind(file.read(HEAD_BYTES))
            if foreign is not None:
                raise DataError(
                    f"{root}: is {foreign.what}, not a scene; {foreign.advice}. A scene is a folder "
                    f"(known kinds: {kinds})"
                )
        raise DataError(
            f"{root}: is no scene of a known kind and holds no photos; give a folder of photos or a video (known "
            f"kinds: {kinds})"
        )
    parser, why = fits[0]
    note = f"scene {root.name or root}: read as {parser.kind}, because {why}"
    if len(fits) > 1:
        note += f"; also possible with --kind: {', '.join(p.kind for p, _ in fits[1:])}"
    return parser, (note,)


def fit_cameras(photos: Sequence[Photo]) -> tuple[tuple[Photo, ...], tuple[str, ...]]:
    """Cameras scaled to the photos that are there, `upright` decided; a note for those that were scaled.

    Cameras are taken to be for the pixels as stored: COLMAP, instant-ngp and nerfstudio ignore the EXIF orientation.
    Only a camera whose shape fits the turned photo, and not the stored one, is for the turned photo.
    """
    out, ratios = [], Counter[tuple[str, str, str]]()
    for photo in photos:
        camera = photo.camera
        assert camera is not None
        info = photo_info(photo.path)
        upright = photo.upright
        if upright is None:
            stored, turned = (_shape_error(camera, *info.size(u)) for u in (False, True))
            upright = turned + 1.5 < stored
        width, height = info.size(upright)
        if _shape_error(camera, width, height) > 1.5 + 0.01 * max(width, height):
            raise DataError(
                f"photo {photo.path} is {width}x{height} pixels but its camera is for {camera.width}x{camera.height}: "
                "the shapes differ, so one is not a resized copy of the other; give the photos that the cameras were "
                "made for"
            )
        if (camera.width, camera.height) != (width, height):
            key = (f"{camera.width}x{camera.height}", f"{width}x{height}", f"{width / camera.width:.4g}")
            ratios[key] += 1
            camera = camera.resized(width, height)
        out.append(replace(photo, camera=camera, upright=upright))
    notes = tuple(
        f"cameras are for {old}, the photos found are {new}: intrinsics multiplied by {ratio}, photos: {count}"
        for (old, new, ratio), count in ratios.items()
    )
    return tuple(out), notes


def _shape_error(camera: Camera, width: int, height: int) -> float:
    """By how many pixels a photo's height differs from that of the camera's picture, resized to the photo's width."""
    return abs(camera.height * width / camera.width - height)


def _final_camera(camera: Camera, cfg: SceneConfig) -> Camera:
    pinhole = pinhole_camera(camera)
    # Parsers read NumPy numbers, but what is written to JSON later needs plain ones.
    plain = {key: float(getattr(pinhole, key)) for key in ("fx", "fy", "cx", "cy")}
    pinhole = replace(pinhole, **plain)
    return pinhole.resized(*final_size(pinhole.width, pinhole.height, cfg))


def final_size(width: int, height: int, cfg: SceneConfig) -> tuple[int, int]:
    """(width, height) trained on, after --downscale or --max-side; never larger than the photo."""
    scale = 1.0
    if cfg.downscale is not None:
        scale = 1.0 / cfg.downscale
    elif isinstance(cfg.max_side, int):
        scale = min(1.0, cfg.max_side / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _check_complete(photos: Sequence[Photo]) -> None:
    """Raises DataError for a photo that is cut off, before a long training meets it."""
    for photo in photos:
        photo_info(photo.path)
        if not looks_complete(photo.path):
            # Some cameras leave the end marker out; only decoding can tell.
            decode(photo.path)


def _with_masks(parsed: ParsedScene, cfg: SceneConfig) -> tuple[tuple[Photo, ...], tuple[str, ...]]:
    """The photos with their masks, and notes on both."""
    photos, notes = find_masks(parsed.root, parsed.photos, cfg.prior_masks)
    notes += _photo_notes(photos, cfg)
    if cfg.alpha == "mask":
        photos = tuple(replace(p, alpha_is_mask=p.mask_path is None and photo_info(p.path).has_alpha) for p in photos)
    return photos, notes


def _given_matches(photos: Sequence[Photo], cfg: SceneConfig) -> tuple[Matches | None, tuple[str, ...]]:
    if cfg.prior_matches is None:
        return None, ()
    return read_matches(cfg.prior_matches, [p.name for p in photos])


def _photo_notes(photos: Sequence[Photo], cfg: SceneConfig) -> tuple[str, ...]:
    infos = [photo_info(photo.path) for photo in photos]
    notes = []
    profiles = Counter(info.profile for info in infos if info.profile)
    broken = profiles.pop("unreadable", 0)
    for name, count in sorted(profiles.items()):
        notes.append(f"photos with the colour profile {name}, converted to sRGB: {count}")
    if broken:
        notes.append(f"photos with an unreadable colour profile, taken as sRGB: {broken}")
    transparent = sum(info.has_alpha for info in infos)
    if transparent:
        notes.append(f"photos with an alpha channel, composited over {cfg.background}: {transparent}")
    distorted = sum(p.camera is not None and is_distorted(p.camera) for p in photos)
    if distorted:
        notes.append(f"photos undistorted: {distorted}")
    return tuple(notes)


def _given(photos: tuple[Photo, ...], split: Split, parsed: ParsedScene) -> _Posed:
    """The scene's own cameras, and its own points unless photos outside of the training set helped to find them."""
    points = parsed.points
    if points is None:
        return _Posed(photos, split, None, "given", ())
    if parsed.points_from_all_photos and len(split.train) < len(parsed.photos):
        note = (
            f"the scene's {len(points)} points were computed from all {len(parsed.photos)} photos, so they are not "
            "used: new ones come from the training photos (--points FILE overrides)"
        )
        return _Posed(photos, split, None, "given", (note,))
    return _Posed(photos, split, points, "given", (f"{len(points)} initial points from the scene",))


def _reconstructed(
    photos: tuple[Photo, ...], split: Split, cfg: SceneConfig, matches: Matches | None, work: Work
) -> _Posed:
    """Cameras and points by structure from motion. Photos that neither train nor test are left out, and so are those
    that could not be placed; the split is renumbered."""
    # Imported here: it brings much that scenes with cameras do not need.
    from sparse3d.sfm.reconstruct import SfmConfig, reconstruct

    used = sorted({*split.train, *split.test})
    photos = tuple(replace(photos[i], upright=True) for i in used)
    train = {used.index(i) for i in split.train}
    settings = SfmConfig(seed=cfg.seed, cameras="all" if cfg.views == "all" else "train")
    result = reconstruct(photos, sorted(train), settings, work.workdir, work.progress, matches)
    kept = [k for k, photo in enumerate(photos) if photo.name in result.cameras]
    placed = tuple(replace(photos[k], camera=result.cameras[photos[k].name]) for k in kept)
    renumbered = replace(
        split,
        train=tuple(new for new, k in enumerate(kept) if k in train),
        test=tuple(new for new, k in enumerate(kept) if k not in train),
    )
    return _Posed(placed, renumbered, result.points, result.camera_source, result.notes)


def _chosen_points(found: Points | None, cfg: SceneConfig) -> tuple[Points | None, tuple[str, ...]]:
    """The points in the file that the user named, else those found."""
    if cfg.points is None:
        return found, ()
    cloud = read_points(cfg.points)
    points = Points(cloud.xyz, cloud.rgb)
    return points, (f"{len(points)} initial points from {cfg.points}", *cloud.notes)
