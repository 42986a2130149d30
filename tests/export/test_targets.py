# SPDX-License-Identifier: Apache-2.0
"""What can be asked for, in words."""

from __future__ import annotations

import pytest

from sparse3d.errors import UsageError
from sparse3d.export.targets import BUDGETS, Target, for_device, parse_size, size_text


@pytest.mark.parametrize(
    ("text", "number"),
    [("1MB", 1_000_000), ("300kB", 300_000), ("300KB", 300_000), ("1.5 MiB", 1_572_864), ("1KiB", 1024), ("77", 77),
     ("77B", 77), (".5mb", 500_000), ("2 gb", 2_000_000_000), ("0.3kB", 300)],
)  # fmt: skip
def test_sizes(text: str, number: int) -> None:
    assert parse_size(text) == number


@pytest.mark.parametrize("text", ["", "MB", "-1MB", "1TB", "1,5MB", "one", "1 MB 2", "0", "0.1B", "1e6"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(UsageError, match="--max-size"):
        parse_size(text)


def test_sizes_in_words() -> None:
    assert [size_text(n) for n in (998_765, 1_234_567, 9_999, 45_000)] == [
        "998.8 kB",
        "1.23 MB",
        "9999 bytes",
        "45.0 kB",
    ]


def test_contradictions_are_said() -> None:
    with pytest.raises(UsageError, match="contradict each other"):
        Target(max_size=1000, max_drop=0.2)
    with pytest.raises(UsageError, match="--max-drop 0: give dB above 0"):
        Target(max_drop=0.0)
    with pytest.raises(UsageError, match="--max-splats 0"):
        Target(max_splats=0)
    with pytest.raises(UsageError, match="--refine-steps -1"):
        Target(steps=-1)


def test_a_device_bounds_what_was_asked_for() -> None:
    android = BUDGETS["android"]
    assert for_device(Target(), "android") == Target(max_size=android.bytes, max_splats=android.splats)
    small = for_device(Target(max_size=1000, max_splats=10**7), "android")
    assert (small.max_size, small.max_splats) == (1000, android.splats)
    loss = for_device(Target(max_drop=0.2), "android")
    assert (loss.max_size, loss.max_drop, loss.byte_cap) == (None, 0.2, android.bytes)
    # A weaker device never gets more.
    order = [BUDGETS[name] for name in ("headset", "android", "ios", "desktop")]
    assert order == sorted(order)
