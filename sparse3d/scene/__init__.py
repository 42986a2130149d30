# SPDX-License-Identifier: Apache-2.0
"""Scenes: photos, cameras and points from folders in many layouts. `load_scene` is the way in.

Names are looked up when first used, so that settings can be read without importing torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sparse3d.scene.config import SceneConfig
    from sparse3d.scene.images import ImageStore
    from sparse3d.scene.load import load_scene
    from sparse3d.scene.records import ParsedScene, Photo, Points, Scene

__all__ = ["ImageStore", "ParsedScene", "Photo", "Points", "Scene", "SceneConfig", "load_scene"]

_HOME = {
    "SceneConfig": "config",
    "ImageStore": "images",
    "load_scene": "load",
    "ParsedScene": "records",
    "Photo": "records",
    "Points": "records",
    "Scene": "records",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
