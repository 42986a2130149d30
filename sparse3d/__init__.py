# SPDX-License-Identifier: Apache-2.0
"""From a few photos to a scene of Gaussian splats, trained on the CPU.

The names below are the public ones; each is imported when first used, so that `import sparse3d` costs nothing. What the
subpackages list in their own `__all__` is public too.

Importing sets OMP_WAIT_POLICY=PASSIVE in the environment unless it has a value: torch's OpenMP threads then sleep while
they wait. Spinning, which is their default, made a step take 2.35 s in place of 0.45 where other processes used the
processors.
On Linux OpenMP reads the variable when torch is imported, so import sparse3d before torch, or set it yourself. A
picture (`sparse3d.render`) starts no thread of torch's and is as fast either way.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sparse3d.camera import Camera
    from sparse3d.errors import Sparse3dError
    from sparse3d.kernels import rasterize
    from sparse3d.load import SceneConfig, load_scene
    from sparse3d.records.scene import Scene
    from sparse3d.splats import Splats

    __version__: str

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__all__ = ["Camera", "Scene", "SceneConfig", "Sparse3dError", "Splats", "__version__", "load_scene", "rasterize"]

_HOME = {
    "Camera": "camera",
    "Scene": "records.scene",
    "SceneConfig": "load",
    "Sparse3dError": "errors",
    "Splats": "splats",
    "load_scene": "load",
    "rasterize": "kernels",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("sparse3d")
        except PackageNotFoundError:
            return "0+unknown"  # A checkout that was never installed.
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
