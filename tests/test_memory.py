# SPDX-License-Identifier: Apache-2.0
"""The peak of memory counts child processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("resource")

CODE = """
import subprocess, sys
from sparse3d.memory import child_ended, peak_rss_mb
before = peak_rss_mb()
subprocess.run([sys.executable, "-c", "x = bytearray(200_000_000)"], check=True)
unknown = peak_rss_mb()
child_ended()
print(before, unknown, peak_rss_mb())
"""


def test_a_childs_memory_is_added_to_ours(repo: Path) -> None:
    out = subprocess.run([sys.executable, "-c", CODE], cwd=repo, capture_output=True, text=True, check=True)
    before, unknown, after = map(float, out.stdout.split())
    assert unknown < before + 100
    assert after > before + 200
