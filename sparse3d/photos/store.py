# SPDX-License-Identifier: Apache-2.0
"""The photos of a scene as tensors: decoded when first asked for, undistorted, resized, and kept as 8-bit pixels within
a memory budget."""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sparse3d.camera import Camera
from sparse3d.errors import DataError
from sparse3d.photos.files import composite, decode
from sparse3d.photos.masks import MASK_LEVEL, read_mask
from sparse3d.photos.photo import Photo
from sparse3d.photos.undistort import Optics, is_distorted, remap, undistort_maps

# Undistortion maps take 8 bytes a pixel; most scenes have one lens, a phone's three.
_MAPS_KEPT = 3


@dataclass(frozen=True)
class Window:
    """A part of a picture in pixels: x, y of its top left corner, width, height; of: (width, height) of the picture."""

    x: int
    y: int
    width: int
    height: int
    of: tuple[int, int]

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns, to index [H,W,...] with."""
        return slice(self.y, self.y + self.height), slice(self.x, self.x + self.width)


@dataclass(frozen=True)
class _Ready:
    """One photo at the size trained on, uint8: rgb [H,W,3], alpha [H,W] where it has one, mask [H,W] 0 or 1."""

    rgb: NDArray[np.uint8]
    alpha: NDArray[np.uint8] | None
    mask: NDArray[np.uint8] | None

    @property
    def num_bytes(self) -> int:
        return sum(a.nbytes for a in (self.rgb, self.alpha, self.mask) if a is not None)


class ImageStore:
    """Photo i as float32 [H,W,3] in 0..1, sRGB, alpha composited over the background; may be used from many threads.

    photos: with cameras for the pixels on disk (distorted, `upright` decided). cameras: pinhole; their width and height
    are the size of the pictures given out. Decoded photos are kept within `cache_mb` million bytes, the least recently
    used one leaving first; on top of that comes the photo that is being decoded. Raises DataError, naming the file, for
    a damaged photo.
    """

    def __init__(
        self, photos: Sequence[Photo], cameras: Sequence[Camera], *, background: str = "white", cache_mb: int = 2048
    ) -> None:
        if len(photos) != len(cameras):
            raise DataError(f"ImageStore: {len(photos)} photos but {len(cameras)} cameras")
        self._photos = tuple(photos)
        self._cameras = tuple(cameras)
        self._background = background
        self._budget_bytes = cache_mb * 1_000_000
        self._lock = threading.Condition()
        self._cache: OrderedDict[int, _Ready] = OrderedDict()
        self._cached_bytes = 0
        self._decoding: set[int] = set()
        self._maps: OrderedDict[Optics, tuple] = OrderedDict()
        self._maps_lock = threading.Lock()
        self._worker: ThreadPoolExecutor | None = None

    def __len__(self) -> int:
        return len(self._photos)

    def __getitem__(self, index: int) -> Tensor:
        """float32 [H,W,3] in 0..1, the caller's own copy."""
        return torch.from_numpy(self.rgb8(index)).to(torch.float32).div_(255.0)

    def rgb8(self, index: int) -> NDArray[np.uint8]:
        """uint8 [H,W,3], shared with the cache: read only."""
        return self._ready(index).rgb

    def mask(self, index: int, factor: int = 1) -> Tensor | None:
        """float32 [H,W], 1 where the pixel counts in loss and metrics, else 0; None where all do. With a factor,
        as in `at_scale`, a pixel counts where at least half of its area does."""
        mask = self._ready(index).mask
        if mask is None:
            return None
        weight = torch.from_numpy(mask).to(torch.float32)
        if factor == 1:
            return weight
        width, height = self.scaled_size(index, factor)
        return torch.from_numpy(_shrink(weight.numpy(), width, height) >= 0.5).to(torch.float32)

    def keeps_nothing(self, index: int) -> bool:
        """Whether the photo's mask, or the alpha that is one, leaves none of its pixels. A photo that is not decoded
        stays so."""
        with self._lock:
            found = self._cache.get(index)
        if found is not None:
            return found.mask is not None and not found.mask.any()
        photo = self._photos[index]
        if photo.mask_path is not None:
            return not read_mask(photo.mask_path).any()
        if not photo.alpha_is_mask:
            return False
        alpha = decode(photo.path, upright=False)[1]
        return alpha is not None and not (alpha >= MASK_LEVEL).any()

    def alpha(self, index: int) -> Tensor | None:
        """float32 [H,W] in 0..1: the photo's own alpha channel, None where it has none."""
        alpha = self._ready(index).alpha
        return None if alpha is None else torch.from_numpy(alpha).to(torch.float32).div_(255.0)

    def at_scale(self, index: int, factor: int) -> Tensor:
        """As `self[index]`, averaged down by 1, 2, 4 or more; its camera is `camera.resized(*scaled_size(...))`."""
        if factor == 1:
            return self[index]
        width, height = self.scaled_size(index, factor)
        return torch.from_numpy(_shrink(self[index].numpy(), width, height))

    def cut(self, index: int, window: Window) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """A window of the photo, of its mask and of its alpha channel: each as the whole one is given out."""
        ready, at = self._ready(index), window.slices
        rgb = torch.from_numpy(np.ascontiguousarray(ready.rgb[at])).to(torch.float32).div_(255.0)
        mask = None if ready.mask is None else torch.from_numpy(ready.mask[at].astype(np.float32))
        alpha = None if ready.alpha is None else torch.from_numpy(ready.alpha[at].astype(np.float32)).div_(255.0)
        return rgb, mask, alpha

    def size(self, index: int) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self._cameras[index].width, self._cameras[index].height

    def photo(self, index: int) -> Photo:
        """The record of the photo on disk; its camera is for the file's own pixels."""
        return self._photos[index]

    def source_size(self, index: int) -> tuple[int, int]:
        """(width, height) of the photo's own pixels, before any shrinking."""
        camera = self._photos[index].camera
        assert camera is not None, "load_scene gives every photo a camera before it makes the store"
        return camera.width, camera.height

    def resized(self, indices: Sequence[int], cameras: Sequence[Camera], *, cache_mb: int = 32) -> ImageStore:
        """The photos at `indices` as a store of their own at the sizes of `cameras`; unless `cache_mb` says more, it
        keeps almost nothing decoded."""
        photos = [self._photos[i] for i in indices]
        return ImageStore(photos, cameras, background=self._background, cache_mb=cache_mb)

    def scaled_size(self, index: int, factor: int) -> tuple[int, int]:
        """(width, height) that `at_scale` gives: divided by the factor, rounded, at least 1."""
        width, height = self.size(index)
        return max(1, round(width / factor)), max(1, round(height / factor))

    @property
    def background(self) -> str:
        """ "white" or "black": the colour that lies behind transparent pixels in the photos given out."""
        return self._background

    @property
    def cached_bytes(self) -> int:
        return self._cached_bytes

    def prefetch(self, indices: Iterable[int]) -> None:
        """Decode these photos on a background thread. This changes no result; a damaged photo is reported when it is
        asked for."""
        with self._lock:
            wanted = [i for i in indices if i not in self._cache and i not in self._decoding]
            if wanted and self._worker is None:
                self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sparse3d-photos")
            worker = self._worker
        for index in wanted:
            assert worker is not None
            worker.submit(self._prefetch_one, index)

    def preload(self, indices: Sequence[int], progress: Callable[[str, float], None] | None = None) -> None:
        """Decode these photos now, as many as the budget holds, so that the first round of training does not wait for
        them. Raises DataError for a damaged one."""
        for count, index in enumerate(indices, start=1):
            before = self._cached_bytes
            self._ready(index)
            if progress:
                progress("decoding photos", count / len(indices))
            # The next one, if as large, would displace another.
            if self._cached_bytes + (self._cached_bytes - before) > self._budget_bytes:
                return

    def close(self) -> None:
        """Stop the background thread and forget the decoded photos; the store may still be used afterwards."""
        with self._lock:
            worker, self._worker = self._worker, None
        if worker is not None:
            worker.shutdown(wait=True, cancel_futures=True)
        with self._lock:
            self._cache.clear()
            self._cached_bytes = 0

    def _prefetch_one(self, index: int) -> None:
        # The thread that needs this photo meets the same error and reports it.
        with contextlib.suppress(DataError):
            self._ready(index)

    def _ready(self, index: int) -> _Ready:
        if not -len(self) <= index < len(self):
            raise IndexError(f"photo {index} of {len(self)}")
        index %= len(self)
        with self._lock:
            while index in self._decoding:
                self._lock.wait()
            found = self._cache.get(index)
            if found is not None:
                self._cache.move_to_end(index)
                return found
            self._decoding.add(index)
        try:
            ready = self._make(index)
        except BaseException:
            with self._lock:
                self._decoding.discard(index)
                self._lock.notify_all()
            raise
        with self._lock:
            self._decoding.discard(index)
            self._keep(index, ready)
            self._lock.notify_all()
        return ready

    def _keep(self, index: int, ready: _Ready) -> None:
        if ready.num_bytes > self._budget_bytes:
            return
        self._cache[index] = ready
        self._cached_bytes += ready.num_bytes
        while self._cached_bytes > self._budget_bytes:
            _, old = self._cache.popitem(last=False)
            self._cached_bytes -= old.num_bytes

    def _make(self, index: int) -> _Ready:
        photo = self._photos[index]
        source = photo.camera
        assert source is not None, "load_scene gives every photo a camera before it makes the store"
        rgb, alpha = decode(photo.path, upright=bool(photo.upright))
        if rgb.shape[:2] != (source.height, source.width):
            raise DataError(
                f"photo {photo.path} is {rgb.shape[1]}x{rgb.shape[0]} pixels, its header said "
                f"{source.width}x{source.height}; it changed while it was in use or is damaged: copy it again"
            )
        rgb = composite(rgb, alpha, self._background)
        keep = self._read_mask(photo, alpha)
        if is_distorted(source):
            map_x, map_y, valid = self._maps_for(source)
            shrinks = 2 * self._cameras[index].width <= source.width
            rgb = remap(rgb, map_x, map_y, shrinks=shrinks)
            alpha = None if alpha is None else remap(alpha, map_x, map_y, shrinks=shrinks)
            keep = None if keep is None else remap(keep.astype(np.uint8) * 255, map_x, map_y) >= MASK_LEVEL
            if valid is not None:
                keep = valid if keep is None else keep & valid
        width, height = self.size(index)
        mask = None
        if keep is not None:
            mask = (_shrink(keep.astype(np.float32), width, height) >= 0.5).astype(np.uint8)
        rgb = _shrink(rgb, width, height)
        alpha = None if alpha is None else _shrink(alpha, width, height)
        return _Ready(rgb, alpha, mask)

    def _read_mask(self, photo: Photo, alpha: NDArray[np.uint8] | None) -> NDArray[np.bool_] | None:
        keep = None
        if photo.mask_path is not None:
            keep = read_mask(photo.mask_path, upright=bool(photo.upright))
        elif photo.alpha_is_mask and alpha is not None:
            return alpha >= MASK_LEVEL
        if keep is None or photo.camera is None:
            return None
        width, height = photo.camera.width, photo.camera.height
        if keep.shape == (height, width):
            return keep
        if abs(keep.shape[1] * height - keep.shape[0] * width) > 0.02 * width * keep.shape[0]:
            raise DataError(
                f"mask {photo.mask_path} is {keep.shape[1]}x{keep.shape[0]} pixels, but photo {photo.name} is "
                f"{width}x{height}: the shapes differ, so the mask does not belong to this photo: replace "
                "or remove it"
            )
        return cv2.resize(keep.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST_EXACT) > 0

    def _maps_for(self, source: Camera) -> tuple:
        key = Optics.of(source)
        with self._maps_lock:
            if key not in self._maps:
                self._maps[key] = undistort_maps(source)
                if len(self._maps) > _MAPS_KEPT:
                    self._maps.popitem(last=False)
            self._maps.move_to_end(key)
            return self._maps[key]


def _shrink(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """Area average of [H,W,...] at another size: each new pixel is the mean of the old area it covers, so that
    K' = diag(sx, sy, 1) K holds exactly."""
    if pixels.shape[:2] == (height, width):
        return np.ascontiguousarray(pixels)
    return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
