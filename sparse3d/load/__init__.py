# SPDX-License-Identifier: Apache-2.0
"""Scenes from folders in many layouts: `load_scene` is the way in.

Names are looked up when first used, so that settings can be read without importing torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sparse3d.load.config import SceneConfig
    from sparse3d.load.scene import load_scene

__all__ = ["SceneConfig", "load_scene"]

_HOME = {"SceneConfig": "config", "load_scene": "scene"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
