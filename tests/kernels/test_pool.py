# SPDX-License-Identifier: Apache-2.0
"""Who runs on which threads when several Python threads call the kernels at once. What a race would break is the native
self-test's part (cpu/selftest/selftest_pool.cpp, `scripts/do race`)."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from parity import Backend
from synthetic import SyntheticScene, make_scene
from torch import Tensor

from sparse3d.errors import UsageError
from sparse3d.kernels import cpu


@pytest.fixture
def three_threads(cpu_backend: Backend) -> Iterator[None]:
    """The common pool of the level under test has three threads, however many processors there are."""
    assert cpu.set_threads(3) == 3
    yield
    cpu.set_threads(0)


@pytest.fixture(scope="module")
def scene() -> SyntheticScene:
    return make_scene(61, num_splats=1500, width=90, height=70, scale=0.04).to(torch.float32)


def picture(scene: SyntheticScene) -> Tensor:
    return Backend("cpu").rasterize(*scene.arguments()).image


class Beside:
    """Calls `work` over and over on a thread of its own while the body runs; `fewest` is then the fewest threads that
    any of its kernels had."""

    def __init__(self, work: Callable[[], Tensor]) -> None:
        self._work, self._stop, self._running = work, threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._loop)
        self.results: list[Tensor] = []
        self.fewest = 0

    def _loop(self) -> None:
        cpu.module().take_fewest_threads()
        while not self._stop.is_set() or len(self.results) < 2:
            self.results.append(self._work())
            self._running.set()
        self.fewest = cpu.module().take_fewest_threads()

    def __enter__(self) -> Beside:
        self._thread.start()
        assert self._running.wait(60)
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()


def test_two_callers_take_turns_with_all_threads(three_threads: None, scene: SyntheticScene) -> None:
    alone = picture(scene)
    cpu.module().take_fewest_threads()
    with Beside(lambda: picture(scene)) as other:
        mine = [picture(scene) for _ in range(8)]
    assert cpu.module().take_fewest_threads() == 3
    assert other.fewest == 3
    assert all(torch.equal(alone, found) for found in [*mine, *other.results])


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_a_share_leaves_the_trainer_its_threads(three_threads: None, scene: SyntheticScene, threads: int) -> None:
    alone = picture(scene)
    with Beside(lambda: picture(scene)) as trainer, cpu.share(threads):
        cpu.module().take_fewest_threads()
        drawn = [picture(scene) for _ in range(8)]
        assert cpu.module().take_fewest_threads() == threads
        assert cpu.module().num_threads() == threads
    assert trainer.fewest == 3
    assert all(torch.equal(alone, found) for found in [*drawn, *trainer.results])
    assert cpu.module().num_threads() == 3


def test_shares_nest_and_belong_to_one_thread(three_threads: None) -> None:
    def threads_there() -> int:
        return cpu.module().num_threads()

    with ThreadPoolExecutor(1) as other, cpu.share(2):
        with cpu.share(1):
            assert threads_there() == 1
            assert other.submit(threads_there).result() == 3
        assert threads_there() == 2
        with pytest.raises(ZeroDivisionError), cpu.share(4):
            raise ZeroDivisionError
        assert threads_there() == 2
    assert threads_there() == 3


def test_a_share_of_nothing_is_refused(three_threads: None) -> None:
    with pytest.raises(UsageError, match="share: 0 threads asked for"), cpu.share(0):
        raise AssertionError("the body must not run")


def test_other_numbers_of_threads_while_kernels_run(three_threads: None, scene: SyntheticScene) -> None:
    alone = picture(scene)
    with Beside(lambda: picture(scene)) as trainer:
        for count in [1, 4, 2, 3] * 10:
            assert cpu.set_threads(count) == count
    assert all(torch.equal(alone, found) for found in trainer.results)


FORK = """
import os, sys, warnings
import torch
from sparse3d.kernels import cpu
warnings.simplefilter("ignore", DeprecationWarning)  # Python's: this process has threads.
m = cpu.module()
target, image = torch.zeros(64, 64, 3), torch.ones(64, 64, 3)
def loss():
    return m.photometric(image, target, None, 0.2, torch.empty(m.photometric_scratch(64, 64)), None)
cpu.set_threads(3)
before = loss()
with cpu.share(2):
    assert loss() == before
    child = os.fork()
    if child == 0:
        good = loss() == before and m.num_threads() == 2
        with cpu.share(3):
            good = good and loss() == before
        m.set_caller_threads(0)
        os._exit(0 if good and loss() == before else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
def test_a_fork_starts_pools_of_its_own() -> None:
    """The parent's workers are not there in the child, neither the common ones nor those of a share."""
    out = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, check=False, timeout=120)
    assert out.returncode == 0, out.stderr
