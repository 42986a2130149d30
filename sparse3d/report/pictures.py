# SPDX-License-Identifier: Apache-2.0
"""Pictures of a run as elements of its page."""

from __future__ import annotations

import base64
import html
import io
from pathlib import Path

from PIL import Image

from sparse3d.errors import DataError

# Sharp on the page's own width of about 1000 pixels, and on a screen with finer ones still good.
_MOST_WIDTH = 1440
# Of WebP, which has a limit of its own.
_MOST_HEIGHT = 12_000


def picture(path: Path, words: str) -> str:
    """An img element that holds the picture at `path` as WebP, a few hundred kB; `words` say what it shows. Empty where
    there is no such file. Raises DataError where it cannot be read."""
    if not path.is_file():
        return ""
    try:
        with Image.open(path) as opened:
            image = opened.convert("RGB")
    except (OSError, ValueError, SyntaxError) as error:
        raise DataError(f"{path}: is not a picture that can be read: {error}") from None
    image.thumbnail((_MOST_WIDTH, _MOST_HEIGHT))
    out = io.BytesIO()
    image.save(out, "WEBP", quality=78, method=2)
    data = base64.b64encode(out.getvalue()).decode("ascii")
    size = f'width="{image.width}" height="{image.height}"'
    return f'<img alt="{html.escape(words)}" {size} src="data:image/webp;base64,{data}">'
