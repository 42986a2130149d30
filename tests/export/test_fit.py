# SPDX-License-Identifier: Apache-2.0
"""Files by target, on scenes of a few hundred splats: sizes are kept to, and spent on what shows."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sparse3d.compress.sampled_cameras import sample_cameras
from sparse3d.errors import UsageError
from sparse3d.export.coder import Coder
from sparse3d.export.drop import Loss, fit_to_drop
from sparse3d.export.fit import LEAST_SHARE, Fit, Fitted
from sparse3d.export.job import coder_for, fitted_to
from sparse3d.export.judge import Judge, expected_drop, held_out, to_source
from sparse3d.export.run_photos import RunPhotos
from sparse3d.export.source import Source
from sparse3d.export.targets import Target
from sparse3d.splats import Splats
from sparse3d.train.config import TrainConfig
from tests.train import tiny

RUN = TrainConfig(steps=1000, sh_degree=1, threads=1)
ALL = ("phone.spz", "phone.sog", "phone.glb", "phone.compressed.ply", "phone.splat", "phone.html", "phone.ply")


def scene(count: int = 1200) -> Splats:
    """Small splats on a sphere, of colours that change slowly over it; some hardly change with the view."""
    g = torch.Generator().manual_seed(3)
    means = torch.nn.functional.normalize(torch.randn(count, 3, generator=g), dim=1)
    strength = torch.rand(count, 1, 1, generator=g) ** 4
    return Splats(
        means=means,
        quats_wxyz=torch.randn(count, 4, generator=g),
        log_scales=math.log(0.05) + 0.4 * torch.randn(count, 3, generator=g),
        logit_opacities=torch.rand(count, generator=g) * 5.0 - 1.0,
        sh0=torch.sin(3.0 * means)[:, None] + 0.1 * torch.randn(count, 1, 3, generator=g),
        shN=0.3 * strength * torch.randn(count, 8, 3, generator=g),
    )


def source_of(splats: Splats, photos: RunPhotos | None = None) -> Source:
    cameras = sample_cameras(splats, 4, side_px=64) if photos is None else photos.cameras
    return Source(
        Path("in.ply"), splats, 248 * splats.num_splats, photos, "" if photos else "no photos", tuple(cameras),
        f"{len(cameras)} cameras", torch.zeros(3),
    )  # fmt: skip


@pytest.fixture(scope="module")
def source() -> Source:
    return source_of(scene())


@pytest.fixture(scope="module")
def photographed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Source]:
    folder = tmp_path_factory.mktemp("fit")
    tiny.write_photos(folder)
    loaded = tiny.scene(folder)
    yield source_of(tiny.true_splats(), RunPhotos(loaded, RUN, {}))
    loaded.images.close()


def fitted(source: Source, name: str, **target: object) -> tuple[Fitted, Coder]:
    asked = Target(threads=1, **target)  # type: ignore[arg-type]
    coder = coder_for(Path(name), asked)
    return fitted_to(source, coder, asked), coder


@pytest.mark.parametrize("name", ALL)
def test_a_size_is_kept_to_in_every_format(source: Source, name: str) -> None:
    size = {"phone.ply": 60_000, "phone.glb": 40_000}.get(name, 11_000)
    made, coder = fitted(source, name, max_size=size)
    encoded = coder.encode(made.splats, made.opts)
    assert encoded.size == made.size
    assert LEAST_SHARE * size <= encoded.size <= size
    assert encoded.total >= encoded.size
    decoded = coder.decoded(encoded)
    assert decoded.num_splats == made.splats.num_splats < source.splats.num_splats
    assert to_source(source, decoded).psnr > 22.0
