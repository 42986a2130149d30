# SPDX-License-Identifier: Apache-2.0
"""`bench compress` on few splats: its record, its errors, and the made splats."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sparse3d import formats
from sparse3d.bench.compress import made_splats, plain_lloyd
from sparse3d.compress.palette import palette
from sparse3d.kernels import cpu
from tests.cli.helpers import run


@pytest.fixture(autouse=True)
def _restore_threads():
    before = torch.get_num_threads()
    yield
    cpu.set_threads(0)
    torch.set_num_threads(before)


def test_the_record_and_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("bench", "compress", "--splats", "900", "--entries", "64", "--threads", "1")
    result = run(capsys, *words, "--json")
    assert result.code == 0, result.err
    found = json.loads(result.out)
    assert found["splats"] == 900
    assert found["entries"] == 64
    assert found["file"] is None
    for name in ("palette_s", "codebook_s", "morton_s", "grid_s", "lloyd_step_s", "ratio"):
        assert found[name] > 0
    assert found["palette_mse"] < found["lloyd_mse"]
    assert "palette mse" in run(capsys, *words, "--reference-steps", "0").out


def test_a_file_instead(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    formats.write(tmp_path / "splat.ply", made_splats(300, 1))
    for path in (tmp_path, tmp_path / "splat.ply"):
        result = run(capsys, "bench", "compress", "--file", path, "--reference-steps", "0", "--json")
        assert json.loads(result.out)["entries"] == 300
        assert "ratio" not in json.loads(result.out)


def test_what_cannot_be_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    result = run(capsys, "bench", "compress", "--splats", "0")
    assert result.code == 2
    assert "--splats must be 1 or more" in result.err
    flat = replace(made_splats(5, 0), shN=torch.zeros(5, 0, 3))
    formats.write(tmp_path / "flat.ply", flat)
    result = run(capsys, "bench", "compress", "--file", tmp_path / "flat.ply")
    assert result.code == 3
    assert "have no palette" in result.err


def test_made_splats_are_the_same_again_and_compress() -> None:
    a, b = made_splats(500, 3), made_splats(500, 3)
    for (_, x), (_, y) in zip(a.named(), b.named()):
        assert torch.equal(x, y)
    vectors = a.shN.reshape(500, -1)
    assert palette(vectors, 100).mse < plain_lloyd(vectors, 100, 5, 0)
