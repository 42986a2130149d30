# SPDX-License-Identifier: Apache-2.0
"""Runs import-linter on the source tree.

The editable install's finder maps the whole checkout into the package, so that `lint-imports` itself would take `tests`
and `scripts` for modules of it. Here that finder steps aside.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.meta_path[:] = [finder for finder in sys.meta_path if "ScikitBuild" not in type(finder).__name__]
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

if __name__ == "__main__":
    from importlinter.cli import lint_imports_command

    lint_imports_command()
