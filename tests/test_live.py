# SPDX-License-Identifier: Apache-2.0
"""The place for the newest value and the box of requests: what those who wait for them get."""

from __future__ import annotations

import threading
import time

import pytest

from sparse3d.live import Inbox, Slot


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


def test_requests_come_once_and_in_order() -> None:
    inbox: Inbox[str] = Inbox(most=2)
    assert inbox.take() == []
    assert [inbox.put(text) for text in ("first", "second", "one too many")] == [True, True, False]
    assert inbox.wait(timeout_s=30.0)
    assert inbox.take() == ["first", "second"]
    assert not inbox.wait(timeout_s=0.05)
    assert inbox.put("third")
    assert inbox.close() == ["third"]
    assert not inbox.put("too late")
    assert inbox.take() == []


def test_a_request_of_another_thread_wakes_who_waits() -> None:
    inbox: Inbox[str] = Inbox()
    found, waits = [], threading.Event()

    def wait() -> None:
        waits.set()
        found.append(inbox.wait(timeout_s=30.0))

    reader = threading.Thread(target=wait, daemon=True)
    reader.start()
    assert waits.wait(10.0)
    inbox.put("go on")
    reader.join(10.0)
    assert not reader.is_alive(), "the reader was not woken"
    assert found == [True]
