# SPDX-License-Identifier: Apache-2.0
"""What became of the tests in pytest's JUnit report, for `scripts/do ci`."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path


def count_tests(report: Path, allowed_skips: Path, say: Callable[[str], None]) -> dict[str, int]:
    """Counts of passed, failed and skipped.

    A skip whose reason is not in `allowed_skips` (one regular expression a line) counts as failed, and is said.
    """
    lines = allowed_skips.read_text(encoding="utf-8").splitlines()
    allowed = [line for line in lines if line and not line.startswith("#")]
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    for case in ElementTree.parse(report).iter("testcase"):
        skip = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            counts["failed"] += 1
        elif skip is not None:
            reason = skip.get("message") or ""
            known = any(re.fullmatch(line, reason) for line in allowed)
            counts["skipped" if known else "failed"] += 1
            if not known:
                name = f"{case.get('classname')}.{case.get('name')}"
                say(f"{name} was skipped for a reason that is not on tests/allowed_skips.txt: {reason}")
        else:
            counts["passed"] += 1
    return counts
