# SPDX-License-Identifier: Apache-2.0
"""Pruning in rounds and training between them, on the tiny scene."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sparse3d.compress.prune import prune
from sparse3d.compress.sh_limits import ShLimits
from sparse3d.errors import UsageError
from sparse3d.export.refine import (
    RefineConfig,
    Shown,
    prune_in_rounds,
    recover,
    recover_through,
    refine_settings,
    stages,
)
from sparse3d.export.run_photos import RunPhotos
from sparse3d.records.scene import Scene
from sparse3d.splats import Splats
from sparse3d.train.config import ExposureConfig, TrainConfig
from sparse3d.train.exposure import Exposure
from sparse3d.train.splats.removal_config import RemovalConfig
from sparse3d.train.splats.terms.config import TermsConfig
from tests.train import tiny

RUN = TrainConfig(steps=1000, sh_degree=1, threads=1)
QUICK = RefineConfig(steps=60, round_steps=20, rounds=2, threads=1)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> RunPhotos:
    folder = tmp_path_factory.mktemp("refine")
    tiny.write_photos(folder)
    return RunPhotos(tiny.scene(folder), RUN, {})


def same(a: Splats, b: Splats) -> bool:
    return all(torch.equal(x, y) for (_, x), (_, y) in zip(a.named(), b.named(), strict=True))


def psnr(photos: RunPhotos, splats: Splats) -> float:
    value = photos.scores(splats).psnr
    assert value is not None
    return value


def few_sizes(splats: Splats) -> Splats:
    return replace(splats, log_scales=torch.round(splats.log_scales * 2) / 2)


def test_training_brings_back_what_pruning_cost(photos: RunPhotos):
    """On held-out photos, which pruning and training never see."""
    splats = tiny.true_splats()
    pruned = prune(splats, photos.importance(splats), 60)
    before, after = psnr(photos, pruned), psnr(photos, recover(photos, pruned, 100, QUICK))
    assert after > before + 0.4
    rounds = recover(photos, prune_in_rounds(photos, splats, 60, QUICK), 60, QUICK)
    assert rounds.num_splats == 60
    assert psnr(photos, rounds) > before + 0.4


def test_the_same_bits_every_time(photos: RunPhotos):
    splats = tiny.true_splats()
    first, second = (recover(photos, prune_in_rounds(photos, splats, 70, QUICK), 60, QUICK) for _ in range(2))
    assert same(first, second)


def test_the_file_is_what_was_trained(photos: RunPhotos):
    """Trained through the quantiser, the splats look better in the file than those trained without."""
    gentle = replace(QUICK, rates=QUICK.rates.times(0.07), final=0.05)
    splats = tiny.true_splats()
    through = recover_through(photos, splats, Shown(quantiser=few_sizes), replace(QUICK, through_steps=150, final=0.05))
    without = recover(photos, splats, 150, gentle)
    assert through.num_splats == splats.num_splats
    assert not torch.equal(through.log_scales, few_sizes(through).log_scales)
    assert psnr(photos, few_sizes(through)) > psnr(photos, few_sizes(without)) + 0.3


def test_harmonics_that_were_cut_stay_zero_and_are_made_up_for(photos: RunPhotos):
    splats = tiny.true_splats()
    splats = replace(splats, shN=splats.shN * 4)
    kept = torch.zeros(150, 3, dtype=torch.bool)
    kept[::2] = True
    cut = ShLimits(kept).of(splats)
    after = recover(photos, cut, 100, QUICK, shown=Shown(ShLimits(kept)))
    assert psnr(photos, after) > psnr(photos, cut) + 0.15
    for made in (
        after,
        recover_through(photos, after, Shown(ShLimits(kept), few_sizes), replace(QUICK, through_steps=20)),
    ):
        assert not made.shN[~kept].any()
        assert made.shN[kept].any(dim=1).all()


def test_numbers_of_splats(photos: RunPhotos):
    splats = tiny.true_splats()
    assert stages(1000, 125, 3) == [500, 250, 125]
    assert stages(100, 100, 3) == []
    assert recover(photos, splats, 0) is splats
    nothing_to_go = prune_in_rounds(photos, splats, 150, QUICK)
    assert nothing_to_go is splats
    with pytest.raises(UsageError, match="leaves no splat"):
        prune_in_rounds(photos, splats, 0, QUICK)
    with pytest.raises(UsageError, match="1 or more rounds"):
        RefineConfig(rounds=0)


def test_settings_of_a_run_go_on_as_they_ended():
    run = replace(
        RUN, terms=TermsConfig(dropout=0.4, opacity_decay=3.0, depth=1.0), exposure=ExposureConfig(enabled=True)
    )
    settings = refine_settings(run, tiny.true_splats(), 100, QUICK, 0)
    assert settings.density.policy == "fixed"
    assert settings.terms.dropout == pytest.approx(0.2)
    # A tenth of the run's steps, a tenth of its decay; and nothing that needs the run's depth maps.
    assert settings.terms.opacity_decay == pytest.approx(0.3)
    assert settings.terms.depth == 0.0
    # Few steps have lower rates.
    assert settings.rates.means == pytest.approx(QUICK.rates.means * run.rates.means_final * (100 / 300) ** 0.5)
    many = refine_settings(run, tiny.true_splats(), 1000, QUICK, 0)
    assert many.rates.means == pytest.approx(QUICK.rates.means * run.rates.means_final)
    assert settings.rates.means_final < settings.rates.means
    assert settings.exposure.enabled
    assert settings.camera_opt.enabled == "off"


def test_a_run_that_removes_floaters_keeps_every_splat_while_refining(photos: RunPhotos):
    removing = replace(RUN, floaters=RemovalConfig(at=(0.5, 1.0), max_share=1.0))
    splats = tiny.true_splats()
    # The last 30 are specks in front of the cameras, which no photo shows.
    specks = 2.2 * torch.nn.functional.normalize(splats.means[120:], dim=1)
    splats = replace(splats, means=torch.cat([splats.means[:120], specks]))
    kept = torch.arange(3)[None] < torch.where(torch.arange(150) % 2 == 0, 3, 0)[:, None]
    run = RunPhotos(photos.scene, removing, {})
    assert recover(run, splats, 20, QUICK, shown=Shown(ShLimits(kept))).num_splats == 150


def test_learned_exposures_are_taken_over(photos: RunPhotos):
    """Photos twice as bright as the splats, which the run has learned: refining leaves the splats as they are."""
    run = replace(RUN, exposure=ExposureConfig(enabled=True, rate=1e-9))
    learned = Exposure(len(photos.scene.train), run.exposure)
    learned.values[:, :3], learned.values[:, 3:] = 0.5, 0.25
    dim = RunPhotos(photos.scene, run, learned.tensors())
    plain = RunPhotos(photos.scene, run, {})
    splats = tiny.true_splats()
    moved = [float((recover(p, splats, 30, QUICK).sh0 - splats.sh0).abs().mean()) for p in (dim, plain)]
    assert moved[0] > 2.0 * moved[1]


def test_a_scene_with_masks_is_measured_inside_them(tiny_scene_with_masks: Scene):
    masked = RunPhotos(tiny_scene_with_masks, RUN, {})
    everything = RunPhotos(tiny_scene_with_masks, replace(RUN, masks="off"), {})
    splats = tiny.true_splats()
    inside, whole = masked.importance(splats).sensitivity, everything.importance(splats).sensitivity
    assert 0.3 * float(whole.sum()) < float(inside.sum()) < 0.999 * float(whole.sum())


@pytest.fixture
def tiny_scene_with_masks(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    folder = tmp_path_factory.mktemp("masked")
    tiny.write_photos(folder, masks=True)
    return tiny.scene(folder, masks=True)
