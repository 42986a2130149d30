# SPDX-License-Identifier: Apache-2.0
"""How well splats keep to the alpha channel of photos: what a comparison over one colour cannot see.

Splats of the very colour that lies behind transparent pixels cost nothing there, and are a fog over any other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from sparse3d.records.scene import Scene
from sparse3d.render import RenderOptions, render
from sparse3d.splats import Splats

# Above this mean error the splats are said to fill what the photos leave empty.
ALPHA_ERROR_MAX = 0.05


def alpha_errors(scene: Scene, indices: Sequence[int], splats: Splats, backend: str = "auto") -> list[float | None]:
    """Mean |alpha - the photo's alpha| of each photo at `indices`, over all its pixels, 0 to 1; None where a photo has
    no alpha channel."""
    options = RenderOptions(backend=None if backend == "auto" else backend)
    errors: list[float | None] = []
    for index in indices:
        wanted = scene.images.alpha(index)
        if wanted is None:
            errors.append(None)
            continue
        alpha = render(splats, scene.cameras[index], options).alpha
        errors.append(float((alpha.double() - wanted.double()).abs().mean()))
    return errors


def alpha_error(scene: Scene, splats: Splats, backend: str = "auto") -> float | None:
    """The mean of `alpha_errors` over the held-out photos, or the training photos where none is held out; None where
    none of them has alpha."""
    known = [e for e in alpha_errors(scene, scene.test or scene.train, splats, backend) if e is not None]
    return math.fsum(known) / len(known) if known else None


def alpha_warning(error: float) -> str | None:
    """A sentence for the user where the error is above ALPHA_ERROR_MAX."""
    if error <= ALPHA_ERROR_MAX:
        return None
    return (
        f"the splats' alpha differs from the photos' by {error:.2f} in the mean (alpha_error): they fill space that "
        "the photos leave empty, which PSNR over one colour does not see; train with --terms.outside 1"
    )
