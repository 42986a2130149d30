# SPDX-License-Identifier: Apache-2.0
"""docs/viewer.md names every edit, field and criterion, and its example can be made."""

from __future__ import annotations

import json
import re
from pathlib import Path

from sparse3d.edit import CRITERIA, OPERATIONS, check_operations


def test_the_tables_are_complete(repo: Path) -> None:
    text = (repo / "docs" / "viewer.md").read_text(encoding="utf-8")
    section = text.split("## Editing from the command line")[1].split("\n## ")[0]
    cells = {row.split("|")[1] for row in section.splitlines() if row.startswith("| `")}
    listed = {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}
    assert listed == {*OPERATIONS.names(), *CRITERIA}
    fields = {field for operation in OPERATIONS for field in operation.fields}
    missing = [field for field in fields if f"`{field}`" not in section and f'"{field}"' not in section]
    assert not missing
    for name, criterion in CRITERIA.items():
        assert re.search(rf"\| `{name}` \|.*\| {criterion.default:g} \|", section), name
    example = re.search(r"```json\n(.*?)```", section, re.DOTALL)
    assert example
    assert len(check_operations(json.loads(example[1]), "example")) == 5
