# SPDX-License-Identifier: Apache-2.0
"""Schedules have the same shape for every length of run."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from sparse3d.train.config import DensityConfig, RatesConfig, ScheduleConfig
from sparse3d.train.schedule import ViewOrder, background_color, image_scale
from sparse3d.train.splats.schedule import is_refine_step, learning_rates, refine_interval, sh_degree


def test_rates_run_from_first_to_final_exponentially():
    rates = RatesConfig()
    first, middle, last = (learning_rates(rates, 2.0, p) for p in (0.0, 0.5, 1.0))
    assert first["means"] == pytest.approx(3.2e-4)
    assert last["means"] == pytest.approx(3.2e-6)
    assert middle["means"] == pytest.approx((first["means"] * last["means"]) ** 0.5)
    for name in ("quats_wxyz", "log_scales", "logit_opacities", "sh0", "shN"):
        assert first[name] == last[name] > 0
    tail = learning_rates(RatesConfig(others_final=0.1), 1.0, 1.0)
    assert tail["sh0"] == pytest.approx(2.5e-4)


def test_degree_rises_by_one_each_tenth():
    schedule = ScheduleConfig()
    for steps in (600, 30_000):
        degrees = [sh_degree(schedule, 3, step / steps) for step in range(steps)]
        assert degrees == sorted(degrees)
        assert [degrees.index(d) / steps for d in range(4)] == pytest.approx([0, 0.1, 0.2, 0.3])
    assert sh_degree(schedule, 1, 0.99) == 1
    assert sh_degree(ScheduleConfig(sh_degree_every=0), 3, 0.0) == 3


def test_images_grow_from_quarter_to_full_size():
    schedule = ScheduleConfig(quarter_size_until=0.1, half_size_until=0.3)
    assert [image_scale(schedule, 960, 540, p) for p in (0, 0.09, 0.1, 0.29, 0.3, 1)] == [4, 4, 2, 2, 1, 1]
    # A small photo is left as large as it is.
    assert [image_scale(schedule, 300, 200, p) for p in (0, 0.2)] == [1, 1]
    assert [image_scale(schedule, 300, 250, p) for p in (0, 0.2)] == [2, 2]


@pytest.mark.parametrize("steps", [300, 600, 7000, 30_000])
def test_refinements_stay_inside_their_window(steps: int):
    density = DensityConfig(start=0.05, stop=0.6)
    due = [step for step in range(1, steps + 1) if is_refine_step(density, step, steps)]
    assert len(due) >= 9
    assert due[0] >= 0.05 * steps
    assert due[-1] <= 0.6 * steps
    assert {b - a for a, b in pairwise(due)} == {refine_interval(density, steps)}
    assert refine_interval(density, steps) <= density.every


def test_every_photo_comes_once_an_epoch_and_never_twice_in_a_row():
    order = ViewOrder(7, torch.Generator().manual_seed(1))
    seen = [order.next() for _ in range(70)]
    for epoch in range(10):
        assert sorted(seen[7 * epoch : 7 * epoch + 7]) == list(range(7))
    assert all(a != b for a, b in pairwise(seen))
    assert seen[:7] != seen[7:14]


def test_view_order_goes_on_from_its_state():
    generator = torch.Generator().manual_seed(1)
    order = ViewOrder(5, generator)
    for _ in range(8):
        order.next()
    state, random_state = order.state(), generator.get_state()
    expected = [order.next() for _ in range(20)]
    other_generator = torch.Generator()
    other_generator.set_state(random_state)
    other = ViewOrder(5, other_generator)
    other.restore(state)
    assert other.peek() == expected[0]
    assert [other.next() for _ in range(20)] == expected
    with pytest.raises(ValueError, match="does not fit 4 views"):
        ViewOrder(4, generator).restore(state)


def test_background_colours():
    generator = torch.Generator().manual_seed(0)
    out = torch.empty(3)
    assert background_color("black", generator, out).tolist() == [0, 0, 0]
    assert background_color("white", generator, out).tolist() == [1, 1, 1]
    first = background_color("random", generator, out).clone()
    assert not torch.equal(first, background_color("random", generator, out))
    assert 0 <= float(first.min()) <= float(first.max()) <= 1
