# SPDX-License-Identifier: Apache-2.0
"""The tiny scene, rendered once a session."""

from __future__ import annotations

from pathlib import Path

import pytest

from sparse3d.scene.records import Scene
from tests.train import tiny


@pytest.fixture(scope="session")
def tiny_photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    tiny.write_photos(folder, masks=True)
    return folder


@pytest.fixture
def tiny_scene(tiny_photos: Path) -> Scene:
    return tiny.scene(tiny_photos)
