# SPDX-License-Identifier: Apache-2.0
"""What a run's events say on the terminal."""

from __future__ import annotations

import pytest

from sparse3d.cli.events import TerminalReader
from sparse3d.train.events import Cleaned


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (
            Cleaned(40, 1990, "splats", {"front": 7, "faint": 3}, False),
            "step 40: floaters: 7 front, 3 faint; 1,990 splats\n",
        ),
        (Cleaned(40, 2000, "splats", {}, False), "step 40: floaters: none; 2,000 splats\n"),
        (
            Cleaned(40, 2000, "splats", {"front": 1200}, True),
            "step 40: floaters: 1,200 front; more than floaters.max_share, so all stay; 2,000 splats\n",
        ),
    ],
)
def test_floaters_are_told_by_criterion(capsys: pytest.CaptureFixture[str], event: Cleaned, text: str):
    with TerminalReader() as reader:
        reader.handle(event)
    assert capsys.readouterr().err == text
