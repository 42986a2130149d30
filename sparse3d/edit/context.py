# SPDX-License-Identifier: Apache-2.0
"""What an edit may ask for beside the document."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from numpy.typing import NDArray

from sparse3d.judge.floaters import Region
from sparse3d.judge.photos import PhotoView
from sparse3d.splats import Splats


@dataclass(frozen=True)
class Context:
    """photos: training photos that judge (floaters, unseen). hull: of an object's masks. values: arrays by name, one
    value for each row of the document, to select by. read: the splats of another file by the name in the edit; whoever
    gives it decides which files may be read. backend: of the kernels, None chooses."""

    photos: Sequence[PhotoView] = ()
    hull: Region | None = None
    values: Mapping[str, NDArray] = field(default_factory=dict)
    read: Callable[[str], Splats] | None = None
    backend: str | None = None
