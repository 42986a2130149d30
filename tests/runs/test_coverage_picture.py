# SPDX-License-Identifier: Apache-2.0
"""coverage.png and support.safetensors of a run."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sparse3d.errors import DataError
from sparse3d.judge.support import count_support
from sparse3d.records.scene import Scene
from sparse3d.runs import coverage_picture
from sparse3d.runs.coverage_picture import coverage
from sparse3d.runs.support_file import read_support, write_support
from tests.train import tiny


def test_the_picture_and_the_numbers(tiny_scene: Scene):
    splats = tiny.true_splats()
    support = count_support(splats, [tiny_scene.cameras[i] for i in tiny_scene.train])
    assert support.dtype == torch.uint8
    assert 1 <= int(support.float().median()) <= 8
    png, record = coverage(tiny_scene, splats, support, torch.zeros(3))
    assert record["cameras"] == "held_out"
    assert record["views"] == 2
    # The black around the ball counts as unseen: these photos have no masks.
    assert record["unseen"] > 0.2
    assert record["two_or_more"] > 0.3
    with Image.open(io.BytesIO(png)) as page:
        assert page.format == "PNG"
        pixels = np.asarray(page.convert("RGB")).reshape(-1, 3)
    # Two held-out and two training photos, each beside its map, whose green is the commonest colour beside the paper.
    green = (pixels[:, 1] > pixels[:, 0] + 30) & (pixels[:, 1] > pixels[:, 2] + 30)
    assert green.sum() > 4 * 500
    no_support, none = coverage(tiny_scene, splats, torch.zeros(150, dtype=torch.uint8), torch.zeros(3))
    assert none["unseen"] == 1.0
    assert no_support != png


def test_a_large_picture_is_drawn_smaller(tiny_scene: Scene, monkeypatch: pytest.MonkeyPatch):
    support = torch.full((150,), 3, dtype=torch.uint8)
    whole, _ = coverage(tiny_scene, tiny.true_splats(), support, torch.zeros(3))
    monkeypatch.setattr(coverage_picture, "_MOST_BYTES", len(whole) - 3000)
    smaller, _ = coverage(tiny_scene, tiny.true_splats(), support, torch.zeros(3))
    assert len(smaller) <= len(whole) - 3000


def test_support_is_kept_in_a_file(tmp_path: Path):
    support = torch.tensor([0, 1, 2, 255], dtype=torch.uint8)
    write_support(tmp_path / "support.safetensors", support, 300)
    assert torch.equal(read_support(tmp_path / "support.safetensors"), support)
    (tmp_path / "other").write_text("hello")
    with pytest.raises(DataError, match="not a file of tensors"):
        read_support(tmp_path / "other")
