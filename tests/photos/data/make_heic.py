# SPDX-License-Identifier: Apache-2.0
"""Makes tiny.heic beside this file. Needs pillow-heif (made with 1.8.1): the reader that the package uses
cannot write HEIC. Run as `python -m tests.photos.data.make_heic` from the repository."""

from __future__ import annotations

from pathlib import Path

import pillow_heif  # pyright: ignore[reportMissingImports]
from PIL import Image

from tests.load.makers import picture


def main() -> None:
    pillow_heif.register_heif_opener()
    Image.fromarray(picture(128, 80)).save(Path(__file__).parent / "tiny.heic", quality=80)


if __name__ == "__main__":
    main()
