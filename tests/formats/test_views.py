# SPDX-License-Identifier: Apache-2.0
"""What is seen from three sides after a file: a mirror image or one wrong sign in the harmonics must show."""

from __future__ import annotations

import io
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from sparse3d.camera import Camera
from sparse3d.formats import FORMATS, WriteOptions
from sparse3d.render import render
from sparse3d.splats import Splats
from tests.formats.makers import make_splats


def scene() -> Splats:
    """Coloured, opaque, elongated splats with strong harmonics, alike from no two sides."""
    splats = make_splats(60, 3)
    return replace(
        splats,
        log_scales=splats.log_scales + torch.tensor([1.2, 0.3, -0.5]),
        logit_opacities=splats.logit_opacities + 2,
    )


def views(splats: Splats) -> torch.Tensor:
    """Pictures [3,48,64,3] from the front, the side and above."""
    centre = np.array([0.3, -0.7, 1.9])
    out = []
    for forward, down in (((0, 0, 1), (0, 1, 0)), ((1, 0, 0), (0, 1, 0)), ((0, 1, 0), (0, 0, -1))):
        z, y = np.array(forward, float), np.array(down, float)
        pose = np.eye(4)
        pose[:3, :3] = np.stack([np.cross(y, z), y, z])
        pose[:3, 3] = -pose[:3, :3] @ (centre - 5 * z)
        out.append(render(splats, Camera(64, 48, 70.0, 70.0, 32.0, 24.0, pose)).image.clamp(0, 1))
    return torch.stack(out)


def psnr(a: torch.Tensor, b: torch.Tensor) -> float:
    """The worst of the views, in dB."""
    return min(-10 * math.log10(max(float(((x - y) ** 2).mean()), 1e-12)) for x, y in zip(a, b, strict=True))


# 8 bits of x, y, z and harmonics of 4 and 5 bits are coarse.
CASES = [("sog", {}, 38.0), ("glb", {}, 80.0), ("glb", {"glb_bits": 8}, 38.0), ("glb-spz", {}, 22.0)]


@pytest.mark.parametrize(("name", "knobs", "least"), CASES)
def test_pictures_stay(name: str, knobs: dict[str, int], least: float) -> None:
    source, file = scene(), io.BytesIO()
    chosen = FORMATS[name]
    chosen.write(file, source, WriteOptions(knobs=knobs))
    file.seek(0)
    pictures, found = views(source), chosen.read(file)
    assert float(pictures.std()) > 0.1, "empty pictures would pass"
    right = psnr(views(found), pictures)
    assert right > least
    mirrored = replace(found, means=(found.means - torch.tensor([0.3, 0, 0])) * torch.tensor([-1.0, 1, 1]) + 0.3)
    assert psnr(views(mirrored), pictures) < 20
    for k in range(15):
        signs = torch.ones(15, 1)
        signs[k] = -1
        assert psnr(views(replace(found, shN=found.shN * signs)), pictures) < right - 0.3, f"coefficient {k}"
