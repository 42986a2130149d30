# SPDX-License-Identifier: Apache-2.0
"""What all tests share: where the real photos are, and where the project's own sample scene is."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sparse3d.records.scene import Scene
from tests.chromium import browser, launch
from tests.train import tiny

__all__ = ["browser", "launch"]

REPO = Path(__file__).resolve().parents[1]


def shared_scenes_root() -> Path:
    """Folder of the shared real scenes: $SPARSE3D_SHARED, or ../shared beside the repository; its scenes/."""
    named = os.environ.get("SPARSE3D_SHARED")
    root = Path(named) if named else REPO.parent / "shared"
    return root / "scenes" if (root / "scenes").is_dir() else root


def require_shared_scene(name: str) -> Path:
    """Path of a shared scene; skips the calling test, with the reason, where it is absent."""
    path = shared_scenes_root() / name
    if not path.is_dir():
        pytest.skip(f"shared scene {name} is not here")
    return path


@pytest.fixture(scope="session")
def shared_scene() -> Callable[[str], Path]:
    """`shared_scene("fox")` is the folder of that real scene, or a skip with the reason."""
    return require_shared_scene


@pytest.fixture(scope="session")
def repo() -> Path:
    """Root of the checkout."""
    return REPO


@pytest.fixture(scope="session")
def sample_scene() -> Path:
    """The committed sample scene, which every checkout has."""
    path = REPO / "scenes" / "sample"
    assert (path / "transforms.json").is_file(), f"{path} is incomplete; scripts/make_sample_scene.py makes it"
    return path


@pytest.fixture(scope="session")
def tiny_photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    tiny.write_photos(folder, masks=True)
    return folder


@pytest.fixture
def tiny_scene(tiny_photos: Path) -> Scene:
    return tiny.scene(tiny_photos)
