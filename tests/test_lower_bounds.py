# SPDX-License-Identifier: Apache-2.0
"""Which releases the lower-bounds run takes. (The run itself installs packages: `scripts/do` starts it.)"""

from __future__ import annotations

from pathlib import Path

import pytest

from lower_bounds import LEFT_OUT, TESTS, WITHOUT, lower_bounds

REPO = Path(__file__).parents[1]


def test_bounds_are_read_and_comments_are_not() -> None:
    text = """
[project]
dependencies = [
  "torch>=2.4",
  # "old>=1",
  "numpy>=1.26",
  "some-thing[extra]>=0.2.7,<2",
  "other>=3.0; python_version < '3.11'",
]
test = ["pytest>=8"]
"""
    assert lower_bounds(text) == {"numpy": "1.26", "some-thing": "0.2.7", "other": "3.0"}


def test_a_dependency_without_a_bound_is_named() -> None:
    with pytest.raises(ValueError, match="'rich<15' has no lower bound"):
        lower_bounds('dependencies = [\n  "numpy>=1.26",\n  "rich<15",\n]\n')


def test_all_dependencies_of_the_project_are_tried_or_left_out() -> None:
    bounds = lower_bounds((REPO / "pyproject.toml").read_text(encoding="utf-8"))
    assert {"numpy", "pycolmap", "pillow", "opencv-python-headless", "av"} <= set(bounds)
    assert not set(bounds) & set(LEFT_OUT)


def test_the_chosen_tests_are_there() -> None:
    for test in (*TESTS, *WITHOUT):
        assert (REPO / test.split("::")[0]).exists(), test
