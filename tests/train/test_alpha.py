# SPDX-License-Identifier: Apache-2.0
"""Objects cut out by alpha: nothing fills the empty space, and the score would see it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from sparse3d.judge.alpha import alpha_error, alpha_errors, alpha_warning
from sparse3d.judge.pictures import Pictures
from sparse3d.records.scene import Scene
from sparse3d.render import RenderOptions, render
from sparse3d.runs.config import RunConfig
from sparse3d.runs.layers import apply_few_views
from sparse3d.splats import Splats
from sparse3d.train.config import TrainConfig
from sparse3d.train.splats.terms.config import TermsConfig
from tests.train import tiny


@pytest.fixture(scope="module")
def cut_out(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """The tiny scene's splats as RGBA photos, shown over white."""
    folder = tmp_path_factory.mktemp("alpha")
    for camera in tiny.cameras():
        seen = render(tiny.true_splats(), camera, RenderOptions(tiny.BACKGROUND, backend="reference"))
        alpha = seen.alpha.clamp(0, 1)[..., None]
        rgba = torch.cat([(seen.image / alpha.clamp(min=1e-3)).clamp(0, 1), alpha], dim=-1)
        Image.fromarray(np.rint(rgba.numpy() * 255).astype(np.uint8)).save(folder / camera.name)
    return tiny.scene(folder)


def fog() -> Splats:
    """White splats all around the object, besides those that the others begin with."""
    begin = tiny.initial()
    generator = torch.Generator().manual_seed(5)
    count = 200
    far = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=1) * 1.6
    more = {name: tensor[:1].expand(count, *tensor.shape[1:]).clone() for name, tensor in begin.named()}
    more |= {"means": far, "log_scales": torch.full((count, 3), -1.5), "sh0": torch.full((count, 1, 3), 1.7)}
    more["logit_opacities"] = torch.full((count,), 1.0)
    joined = {name: torch.cat([tensor, more[name]]) for name, tensor in begin.named()}
    return replace(begin, **joined)


def trained(scene: Scene, weight: float) -> Splats:
    cfg = TrainConfig(steps=1200, checkpoint_every=0, terms=TermsConfig(outside=weight))
    running = tiny.loop(scene, fog(), cfg)
    while running.step < cfg.steps:
        list(running.advance())
    return running.trainee.snapshot()


def off_object(scene: Scene, splats: Splats) -> float:
    """Mean alpha where the photos show nothing."""
    found = []
    for index in range(len(scene.cameras)):
        wanted = scene.images.alpha(index)
        assert wanted is not None
        found.append(float(render(splats, scene.cameras[index]).alpha[wanted < 0.01].mean()))
    return float(np.mean(found))


def test_white_fog_around_the_object_goes_and_is_seen_by_the_score(cut_out: Scene) -> None:
    with_term, without = (trained(cut_out, weight) for weight in (0.2, 0.0))
    clean, foggy = alpha_error(cut_out, with_term), alpha_error(cut_out, without)
    assert clean is not None
    assert foggy is not None
    assert clean < 0.5 * foggy
    assert "--terms.outside" in (alpha_warning(foggy) or "")
    assert alpha_warning(0.05) is None
    assert off_object(cut_out, with_term) < 0.05 < 0.5 < off_object(cut_out, without)


def test_the_error_is_the_mean_difference_of_alpha(cut_out: Scene, tiny_scene: Scene) -> None:
    true = tiny.true_splats()
    assert max(e for e in alpha_errors(cut_out, cut_out.test, true) if e is not None) < 0.01
    invisible = replace(true, logit_opacities=torch.full_like(true.logit_opacities, -20.0))
    wanted = [float(a.mean()) for i in cut_out.test if (a := cut_out.images.alpha(i)) is not None]
    assert alpha_error(cut_out, invisible) == pytest.approx(np.mean(wanted), abs=1e-3)
    # Without held-out photos the training photos count; without alpha there is nothing to say.
    assert alpha_error(replace(cut_out, test=()), true) is not None
    assert alpha_error(tiny_scene, true) is None


def test_the_alpha_channel_is_what_splats_should_have(cut_out: Scene) -> None:
    found = Pictures(cut_out).known_alpha(0, 1)
    assert found is not None
    wanted = cut_out.images.alpha(cut_out.train[0])
    assert wanted is not None
    assert torch.equal(found.alpha, wanted)
    assert bool((found.weight == 1.0).all())


@pytest.mark.parametrize("preset", ["fast", "default", "quality"])
def test_every_preset_has_the_term(preset: str) -> None:
    from sparse3d import config as configs

    cfg = configs.resolve(RunConfig(), [configs.preset(preset)])
    assert cfg.train.terms.outside > 0.0
    assert apply_few_views(cfg).train.terms.outside > 0.0
