# SPDX-License-Identifier: Apache-2.0
"""Kinds of scenes, one module each. The order of these imports is the precedence where several kinds fit."""

from __future__ import annotations

# isort: off
from sparse3d.load.parsers import transforms as _transforms  # noqa: F401
from sparse3d.load.parsers import blender as _blender  # noqa: F401
from sparse3d.load.parsers import colmap as _colmap  # noqa: F401
from sparse3d.load.parsers import neus as _neus  # noqa: F401
from sparse3d.load.parsers import llff as _llff  # noqa: F401
from sparse3d.load.parsers import middlebury as _middlebury  # noqa: F401
from sparse3d.load.parsers import pose_files as _pose_files  # noqa: F401
from sparse3d.load.parsers import photos as _photos  # noqa: F401
from sparse3d.load.parsers import video as _video  # noqa: F401

# isort: on
from sparse3d.load.parsers.parser import PARSERS, SceneParser, Work

__all__ = ["PARSERS", "SceneParser", "Work"]
