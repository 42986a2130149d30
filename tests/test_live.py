# SPDX-License-Identifier: Apache-2.0
"""The place for the newest value: what a reader that waits for it gets."""

from __future__ import annotations

import threading
import time

import pytest

from sparse3d.live import Slot


def test_a_newer_value_that_is_there_comes_at_once() -> None:
    slot: Slot[str] = Slot()
    slot.put("first")
    slot.put("second")
    began = time.monotonic()
    assert slot.wait_newer(0, timeout_s=30.0) == ("second", 2)
    assert slot.wait_newer(1, timeout_s=30.0) == ("second", 2)
    assert time.monotonic() - began < 10.0


def test_a_value_that_another_thread_puts_is_waited_for() -> None:
    slot: Slot[str] = Slot()
    slot.put("old")
    found, waits = [], threading.Event()

    def read() -> None:
        waits.set()
        found.append(slot.wait_newer(1, timeout_s=30.0))

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    assert waits.wait(10.0)
    # The reader has nothing to return with until a newer value is there.
    reader.join(0.1)
    assert reader.is_alive()
    assert found == []
    slot.put("new")
    reader.join(10.0)
    assert not reader.is_alive(), "the reader was not woken"
    assert found == [("new", 2)]


@pytest.mark.parametrize("puts", [0, 1])
def test_without_a_newer_value_the_old_version_comes_when_the_time_is_over(puts: int) -> None:
    slot: Slot[str] = Slot()
    for _ in range(puts):
        slot.put("old")
    began = time.monotonic()
    assert slot.wait_newer(puts, timeout_s=0.2) == ("old" if puts else None, puts)
    assert time.monotonic() - began >= 0.19
