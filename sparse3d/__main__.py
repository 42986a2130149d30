# SPDX-License-Identifier: Apache-2.0
"""`python -m sparse3d` is `sparse3d`."""

from __future__ import annotations

import sys

from sparse3d.cli.main import main

# The guard matters: worker processes started by "spawn" import this module again.
if __name__ == "__main__":
    sys.exit(main())
