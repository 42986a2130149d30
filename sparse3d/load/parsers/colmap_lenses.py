# SPDX-License-Identifier: Apache-2.0
"""COLMAP's camera models (sensor/models.h of COLMAP 4.2) and the cameras here that show the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sparse3d.camera import Camera
from sparse3d.errors import DataError
from sparse3d.load.parsers.parser import plausible


@dataclass(frozen=True)
class LensModel:
    """One of COLMAP's camera models: its number in .bin files, how many parameters it has, and where this project's
    values stand among them. focal: positions of fx, fy. lens: a name in `photos.lenses`, None for what no flat picture
    can show. coefficients: positions of that lens's."""

    number: int
    name: str
    num_params: int
    focal: tuple[int, int] = (0, 1)
    centre: tuple[int, int] = (2, 3)
    lens: str | None = "opencv"
    coefficients: tuple[int, ...] = ()


_ONE_FOCAL = ((0, 0), (1, 2))
_TWO_FOCALS = ((0, 1), (2, 3))

LENS_MODELS = (
    LensModel(0, "SIMPLE_PINHOLE", 3, *_ONE_FOCAL),
    LensModel(1, "PINHOLE", 4, *_TWO_FOCALS),
    LensModel(2, "SIMPLE_RADIAL", 4, *_ONE_FOCAL, "opencv", (3,)),
    LensModel(3, "RADIAL", 5, *_ONE_FOCAL, "opencv", (3, 4)),
    LensModel(4, "OPENCV", 8, *_TWO_FOCALS, "opencv", (4, 5, 6, 7)),
    LensModel(5, "OPENCV_FISHEYE", 8, *_TWO_FOCALS, "fisheye", (4, 5, 6, 7)),
    LensModel(6, "FULL_OPENCV", 12, *_TWO_FOCALS, "opencv", (4, 5, 6, 7, 8, 9, 10, 11)),
    LensModel(7, "FOV", 5, *_TWO_FOCALS, "fov", (4,)),
    LensModel(8, "SIMPLE_RADIAL_FISHEYE", 4, *_ONE_FOCAL, "fisheye", (3,)),
    LensModel(9, "RADIAL_FISHEYE", 5, *_ONE_FOCAL, "fisheye", (3, 4)),
    LensModel(10, "THIN_PRISM_FISHEYE", 12, *_TWO_FOCALS, "thin_prism", tuple(range(4, 12))),
    LensModel(11, "RAD_TAN_THIN_PRISM_FISHEYE", 16, *_TWO_FOCALS, "rad_tan_thin_prism", tuple(range(4, 16))),
    LensModel(12, "SIMPLE_DIVISION", 4, *_ONE_FOCAL, "division", (3,)),
    LensModel(13, "DIVISION", 5, *_TWO_FOCALS, "division", (4,)),
    LensModel(14, "SIMPLE_FISHEYE", 3, *_ONE_FOCAL, "fisheye"),
    LensModel(15, "FISHEYE", 4, *_TWO_FOCALS, "fisheye"),
    LensModel(16, "EUCM", 6, *_TWO_FOCALS, "eucm", (4, 5)),
    LensModel(17, "EQUIRECTANGULAR", 2, lens=None),
)
_BY_NUMBER = {model.number: model for model in LENS_MODELS}
_BY_NAME = {model.name: model for model in LENS_MODELS}


def model_of(kind: int | str, where: str) -> LensModel:
    """The model of that number (.bin) or name (.txt). Raises DataError for one that COLMAP 4.2 does not have."""
    model = _BY_NUMBER.get(kind) if isinstance(kind, int) else _BY_NAME.get(kind)
    if model is None:
        said = f"the model number {kind}" if isinstance(kind, int) else f"the camera model {kind}"
        raise DataError(
            f"{where} has {said}, which COLMAP 4.2 does not know (its models are {LENS_MODELS[0].name} to "
            f"{LENS_MODELS[-1].name}, 0 to {LENS_MODELS[-1].number}); if a newer COLMAP wrote it, run its "
            "image_undistorter and give its result"
        )
    return model


def make_camera(model: LensModel, width: int, height: int, params: tuple[float, ...], where: str) -> Camera:
    """A camera at the origin from COLMAP's parameters. Raises DataError for a model that shows all around, and for
    values that no lens has."""
    if model.lens is None:
        raise DataError(
            f"{where}: camera model {model.name} ({model.number}) shows all around and cannot be made a pinhole "
            "camera; cut the photos into perspective views first (COLMAP's example panorama_sfm.py does) and "
            "give their model"
        )
    if not np.isfinite(params).all():
        raise DataError(f"{where}: a parameter is NaN or infinite; compute the model again")
    lens = tuple(params[k] for k in model.coefficients)
    camera = Camera(
        width,
        height,
        params[model.focal[0]],
        params[model.focal[1]],
        params[model.centre[0]],
        params[model.centre[1]],
        np.eye(4),
        distortion=lens if any(lens) else (),
        lens=model.lens,
    )
    return plausible(camera, where)
