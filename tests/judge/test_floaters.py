# SPDX-License-Identifier: Apache-2.0
"""Floaters put into a scene whose photos are known go, whatever hides them; what the photos show stays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from sparse3d.errors import UsageError
from sparse3d.judge.floater_config import FloaterConfig
from sparse3d.judge.floaters import Floaters, check_share, find_floaters, isolated
from sparse3d.judge.photos import JudgingPhotos
from sparse3d.judge.pictures import Pictures
from sparse3d.kernels import cpu
from sparse3d.records.scene import Scene
from sparse3d.splats import Splats
from tests.train import tiny

# All criteria, with fewer depths than by default: small pictures are cut quickly enough, but many times.
ALL = FloaterConfig(levels=8, rounds=3)
NOTHING = replace(ALL, votes=0, dense_votes=0, stray=0.0, isolated=0.0, min_opacity=0.0, harmful=False)
FRONT = replace(NOTHING, votes=1)
TRUE = 150


def photos_of(scene: Scene, **options) -> JudgingPhotos:
    return JudgingPhotos(Pictures(scene), torch.zeros(3), **options)


def with_more(splats: Splats, means: np.ndarray, scale: float, colours: torch.Tensor, logit: float = 5.0) -> Splats:
    """The splats and round ones [M,3] behind them in the tables; colours [M,3] in 0..1."""
    count = len(means)
    new = Splats(
        means=torch.from_numpy(means).float(),
        quats_wxyz=torch.tensor([[1.0, 0.0, 0.0, 0.0]]).repeat(count, 1),
        log_scales=torch.full((count, 3), float(np.log(scale))),
        logit_opacities=torch.full((count,), logit),
        sh0=((colours - 0.5) / 0.28209479)[:, None],
        shN=torch.zeros(count, splats.shN.shape[1], 3),
    )
    return replace(splats, **{name: torch.cat([tensor, getattr(new, name)]) for name, tensor in splats.named()})


def before_cameras(scene: Scene, distances: tuple[float, ...], seed: int = 1) -> np.ndarray:
    """Places [8*len,3] before the training cameras: one line of sight a camera, at the distances from it."""
    rng = np.random.default_rng(seed)
    places = []
    for index in scene.train:
        camera = scene.cameras[index]
        x, y = rng.uniform(-0.15, 0.15, 2)
        for distance in distances:
            in_camera = np.array([x, y, 1.0]) * distance
            places.append(camera.world_from_cam[:3, :3] @ in_camera + camera.position)
    return np.array(places)


def test_what_the_photos_show_stays(tiny_scene: Scene):
    found = find_floaters(tiny.true_splats(), photos_of(tiny_scene), ALL)
    # Splats inside of the ball that no photo shows may go as far as the photos are concerned; none in front does.
    assert found.counts.get("front", 0) == 0
    assert found.remove.sum() <= 3
    assert find_floaters(tiny.true_splats(), photos_of(tiny_scene), FRONT).counts == {}


def test_floaters_behind_each_other_go_and_nothing_else(tiny_scene: Scene):
    places = before_cameras(tiny_scene, (0.7, 0.9, 1.2))
    generator = torch.Generator().manual_seed(3)
    spoilt = with_more(tiny.true_splats(), places, 0.08, torch.rand(len(places), 3, generator=generator))
    found = find_floaters(spoilt, photos_of(tiny_scene), FRONT)
    assert found.remove[TRUE:].all()
    assert found.remove[:TRUE].sum() <= 2
    assert found.counts == {"front": int(found.remove.sum())}


def test_a_photo_alone_is_not_enough_where_two_are_asked_for(tiny_scene: Scene):
    place = before_cameras(tiny_scene, (0.3,))[:1]
    spoilt = with_more(tiny.true_splats(), place, 0.02, torch.tensor([[1.0, 0.0, 1.0]]))
    assert find_floaters(spoilt, photos_of(tiny_scene), FRONT).remove.nonzero().tolist() == [[TRUE]]
    assert not find_floaters(spoilt, photos_of(tiny_scene), replace(FRONT, votes=2)).remove.any()


def test_dense_depth_finds_what_colours_do_not(tiny_scene: Scene):
    """Black before a black background, and splats of the surface's own colour, are right in every photo."""
    truth = tiny.true_splats()
    places = before_cameras(tiny_scene, (0.8,))
    spoilt = with_more(truth, places, 0.03, torch.full((len(places), 3), 0.5), logit=0.0)
    maps = tiny.depth_maps(tiny_scene)
    depths = {position: maps[index] for position, index in enumerate(tiny_scene.train)}
    cfg = replace(NOTHING, dense_votes=1)
    found = find_floaters(spoilt, photos_of(tiny_scene, depths=depths), cfg)
    assert found.remove[TRUE:].all()
    # Splats that reach far out of the mean surface may be before it; most are not.
    assert found.remove[:TRUE].sum() <= 6
    assert not find_floaters(spoilt, photos_of(tiny_scene), cfg).remove.any(), "without depth nothing is known"
    strict = replace(cfg, dense_votes=9)
    assert not find_floaters(spoilt, photos_of(tiny_scene, depths=depths), strict).remove.any()


def test_a_wrong_colour_on_the_surface_is_harmful(tiny_scene: Scene):
    truth = tiny.true_splats()
    spoilt = with_more(truth, np.array([[0.0, -1.1, 0.0], [0.0, 1.1, 0.0]]), 0.2, torch.tensor([[1.0, 0.0, 1.0]] * 2))
    found = find_floaters(spoilt, photos_of(tiny_scene), replace(NOTHING, harmful=True))
    assert found.remove[TRUE:].all()
    assert found.counts["harmful"] <= 4


def test_a_lone_splat_beside_the_pictures_is_stray(tiny_scene: Scene):
    """Far beside the second camera and a little before it; no photo shows it."""
    camera = tiny_scene.cameras[tiny_scene.train[1]]
    beside = camera.world_from_cam[:3, :3] @ np.array([0.0, -8.0, 0.4]) + camera.position
    spoilt = with_more(tiny.true_splats(), beside[None], 0.1, torch.tensor([[1.0, 0.0, 1.0]]))
    found = find_floaters(spoilt, photos_of(tiny_scene), replace(NOTHING, stray=0.8))
    assert found.remove.nonzero().tolist() == [[TRUE]]
    assert found.counts == {"stray": 1}


def test_faint_and_useless_splats(tiny_scene: Scene):
    truth = tiny.true_splats()
    spoilt = with_more(truth, np.array([[0.0, -1.1, 0.0]]), 0.05, torch.tensor([[0.5, 0.5, 0.5]]), logit=-6.0)
    found = find_floaters(spoilt, photos_of(tiny_scene), replace(NOTHING, min_opacity=0.005))
    assert (found.remove.nonzero().tolist(), found.counts) == ([[TRUE]], {"faint": 1})
    brighter = with_more(truth, np.array([[0.0, -1.1, 0.0]]), 0.05, torch.tensor([[0.5, 0.5, 0.5]]), logit=-4.5)
    found = find_floaters(brighter, photos_of(tiny_scene), replace(NOTHING, min_weight=0.02))
    assert bool(found.remove[TRUE])
    assert found.counts["useless"] == found.remove.sum() < 20


def test_without_photos_neighbours_and_opacity_decide():
    truth = tiny.true_splats()
    far = np.array([[9.0, 0.0, 0.0], [0.0, -30.0, 0.0]])
    spoilt = with_more(truth, far, 0.1, torch.full((2, 3), 0.5))
    spoilt.logit_opacities[7] = -8.0
    found = find_floaters(spoilt, (), FloaterConfig())
    assert found.counts == {"isolated": 2, "faint": 1}
    assert found.remove.nonzero()[:, 0].tolist() == [7, TRUE, TRUE + 1]


def test_many_outliers_do_not_hide_each_other():
    """A quarter of all far out: mean and deviation of plain distances would pass most of them."""
    rng = np.random.default_rng(0)
    far = rng.uniform(-60.0, 60.0, (50, 3))
    far = far[np.linalg.norm(far, axis=1) > 15.0]
    spoilt = with_more(tiny.true_splats(), far, 0.1, torch.full((len(far), 3), 0.5))
    assert len(far) > 40
    lonely = isolated(spoilt, 4.0)
    assert lonely[TRUE:].all()
    assert not lonely[:TRUE].any()
    assert not isolated(spoilt.select(torch.arange(3)), 4.0).any(), "too few to have neighbours"
    assert not isolated(spoilt.select(torch.zeros(90, dtype=torch.long)), 4.0).any(), "all at one place"


def test_nothing_to_see_and_nothing_to_remove(tiny_scene: Scene):
    truth = tiny.true_splats()
    empty = truth.select(torch.zeros(0, dtype=torch.long))
    assert find_floaters(empty, photos_of(tiny_scene), ALL).counts == {}
    away = replace(truth, means=truth.means + 1e4)
    assert not find_floaters(away, photos_of(tiny_scene), ALL).remove.all()
    invisible = replace(truth, logit_opacities=torch.full((TRUE,), -9.0))
    assert not find_floaters(invisible, (), FloaterConfig()).remove.any(), "never all of them"


def test_too_large_a_share_is_refused_unless_forced():
    found = Floaters(torch.arange(10) < 4, {"front": 3, "faint": 1})
    assert found.share == pytest.approx(0.4)
    with pytest.raises(UsageError, match=r"4 of 10 splats would be removed \(3 front, 1 faint\), more than .* 0\.3"):
        check_share(found, FloaterConfig())
    check_share(found, FloaterConfig(), forced=True)
    check_share(found, FloaterConfig(max_share=0.4))


def test_the_same_splats_on_any_number_of_threads(tiny_scene: Scene):
    places = before_cameras(tiny_scene, (0.7, 1.2))
    spoilt = with_more(tiny.initial(), places, 0.08, torch.full((len(places), 3), 0.9))
    masks = []
    for threads in (1, 3):
        cpu.set_threads(threads)
        masks.append(find_floaters(spoilt, photos_of(tiny_scene, most=3), ALL).remove)
    assert masks[0].any()
    assert torch.equal(*masks)


def test_settings_that_cannot_be_meant():
    with pytest.raises(UsageError, match=r"floaters\.votes is -1"):
        FloaterConfig(votes=-1)
    with pytest.raises(UsageError, match=r"floaters\.levels is 0"):
        FloaterConfig(levels=0)
    with pytest.raises(UsageError, match=r"floaters\.max_share is 1\.5"):
        FloaterConfig(max_share=1.5)
