# SPDX-License-Identifier: Apache-2.0
"""What steps look at: photos in their order, and virtual photos in between."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from sparse3d.errors import DataError
from sparse3d.kernels.reference import l1_ssim_loss
from sparse3d.scene.extra_view import ExtraView
from sparse3d.scene.records import Scene
from sparse3d.train.config import DensityConfig, ScheduleConfig, TrainConfig
from sparse3d.train.events import Evaluated, Event, Stepped
from sparse3d.train.shifted_shot import ShiftedShot, places_in_photo, sampled_rows, shifted
from sparse3d.train.shots import ExtraShot, PhotoShot, Shot
from sparse3d.train.terms.config import TermsConfig
from sparse3d.train.trainer import Run, train
from sparse3d.train.views import raster_settings
from tests.train import tiny

CONFIG = TrainConfig(
    steps=60, sh_degree=1, threads=1, schedule=ScheduleConfig(half_size_until=0.3, min_side_px=16),
    density=DensityConfig(policy="fixed"),
)  # fmt: skip


def shots_of(scene: Scene, extra: list[ExtraView], **terms: Any) -> list[Shot]:
    """Those of a run's steps."""
    run = Run(scene, tiny.initial(), replace(CONFIG, terms=TermsConfig(**terms)), None, {}, extra)
    return [run.shots.next(i + 1, i / 60, 2 if i < 18 else 1, torch.zeros(3)) for i in range(60)]


def test_every_third_step_between_its_moments_is_virtual(tiny_scene: Scene):
    shots = shots_of(tiny_scene, tiny.extra_views(), virtual=0.5, virtual_start=0.2, virtual_stop=0.7)
    virtual = [i + 1 for i, shot in enumerate(shots) if isinstance(shot, ExtraShot)]
    assert virtual == list(range(15, 43, 3))
    assert {shot.name for shot in shots if isinstance(shot, ExtraShot)} == {"virtual 0", "virtual 1"}
    # The order of the photos goes on as if nothing came between them.
    plain = shots_of(tiny_scene, tiny.extra_views())
    assert all(isinstance(shot, PhotoShot) for shot in plain)
    seen = [shot.position for shot in shots if isinstance(shot, PhotoShot)]
    assert seen == [shot.position for shot in plain][: len(seen)]
    assert all(isinstance(shot, PhotoShot) for shot in shots_of(tiny_scene, [], virtual=0.5))
    sizes = {i: (shot.view.width, shot.target.shape[0]) for i, shot in enumerate(shots)}
    assert sizes[14] == (32, 32)
    assert sizes[41] == (64, 64)


def test_a_virtual_photos_loss_counts_known_pixels_and_its_weight(tiny_scene: Scene):
    extra = tiny.extra_views()
    run = Run(tiny_scene, tiny.initial(), replace(CONFIG, terms=TermsConfig(virtual=0.25)), None, {}, extra)
    shot = run.shots.next(3, 0.9, 1, torch.zeros(3))
    view = shot.view
    settings = raster_settings(view, CONFIG, 1)
    rendering = run.kernels.render(run.params, view.cam_from_world, view.intrinsics, torch.zeros(3), settings)
    loss, v = shot.loss(run.kernels, rendering, 0.2)
    source = extra[int(shot.name.split()[1])]
    leaf = rendering.image.clone().double().requires_grad_()
    image, weight = torch.from_numpy(source.image).double(), torch.from_numpy(source.weight).double()
    expected = l1_ssim_loss(leaf, image, weight, 0.2)
    assert loss == pytest.approx(float(expected.detach()), rel=1e-4)
    (gradient,) = torch.autograd.grad(0.25 * expected, leaf)
    assert v.image is not None
    assert torch.allclose(v.image.double(), gradient, atol=1e-3 * float(gradient.abs().max()))
    assert torch.all(v.image[:15, :15] == 0)


def test_reducing_leaves_unknown_pixels_out_of_the_average():
    camera = tiny.cameras()[0].resized(4, 2)
    image = np.zeros((2, 4, 3), np.float32)
    image[:, 0] = 0.8
    image[:, 1] = 0.2
    weight = np.array([[1, 0, 1, 1], [1, 0, 0, 0]], np.float32)
    half = ExtraView(camera, image, weight).reduced(2)
    assert half.camera.width == 2
    assert half.camera.fx == camera.fx / 2
    assert np.allclose(half.weight, [[0.5, 0.5]])
    assert np.allclose(half.image[0, 0], 0.8)
    with pytest.raises(DataError, match="do not fit a camera of 4x2 pixels"):
        ExtraView(camera, image, weight[:, :3])


def go(scene: Scene, extra: list[ExtraView], steps: int = 60, **terms: Any) -> list[Event]:
    cfg = replace(CONFIG, steps=steps, terms=TermsConfig(**terms))
    return list(train(scene, tiny.initial(), cfg, None, extra_views=extra))


def test_good_virtual_photos_help_few_photos(tiny_scene: Scene):
    few = replace(tiny_scene, train=(0, 5))
    psnr = []
    for weight in (0.0, 1.0):
        final = go(few, tiny.extra_views(), 150, virtual=weight)[-2]
        assert isinstance(final, Evaluated)
        assert final.psnr is not None
        psnr.append(final.psnr)
    assert psnr[1] > psnr[0] + 1


def test_a_part_of_the_late_steps_looks_from_beside_a_photo(tiny_scene: Scene):
    terms = {"virtual": 1.0, "binocular": 0.5, "binocular_start": 0.5, "binocular_every": 4, "binocular_shift": 0.25}
    shots = shots_of(tiny_scene, tiny.extra_views(), **terms)
    # Steps 33, 45 and 57 would be too, but a virtual photo comes first.
    moved = {i + 1: shot for i, shot in enumerate(shots) if isinstance(shot, ShiftedShot)}
    assert sorted(moved) == [37, 41, 49, 53]
    run = Run(tiny_scene, tiny.initial(), CONFIG, None)
    for shot in moved.values():
        position = [tiny_scene.names[i] for i in tiny_scene.train].index(shot.name.removesuffix(" shifted"))
        moved_by = shot.view.cam_from_world - run.views.view(position, 1).cam_from_world
        assert torch.count_nonzero(moved_by) == 1
        places = np.stack([tiny_scene.cameras[i].position for i in tiny_scene.train])
        nearest = np.sort(np.linalg.norm(places - places[position], axis=1))[1]
        assert 0 < abs(float(moved_by[0, 3])) <= 0.25 * nearest


@pytest.mark.parametrize("shift", [0.3, -0.3])
def test_places_in_the_photo_leave_out_what_it_does_not_show(shift: float):
    """A near square before a far wall: the strip of the wall beside it is hidden from the photo's camera."""
    camera = tiny.cameras()[0]
    square = slice(24, 40)
    z = np.full((64, 64), 6.0, np.float32)
    z[square, square] = 3.0
    seen = np.ones_like(z, bool)
    seen[:8] = False
    disparity = camera.fx * shift
    at, shows = places_in_photo(z, seen, disparity)
    wall, near = disparity / 6.0, disparity / 3.0
    assert np.allclose(at[32, 0], wall)
    assert np.allclose(at[32, 32], 32 + near)
    assert not shows[:8].any()
    # The square lands on 3.6 pixels of the wall beyond what it hides from the moved camera.
    hidden = np.flatnonzero(~shows[32])
    past = np.flatnonzero((at[32] < 0) | (at[32] > 63))
    strip = sorted(set(hidden) - set(past))
    assert strip == ([40, 41, 42] if shift > 0 else [21, 22, 23])
    assert np.array_equal(np.flatnonzero(~shows[10]), past)


def test_the_gradient_of_a_shifted_view_is_that_of_autograd(tiny_scene: Scene):
    """Of L1 between the rendering and the photo at the places that its depth gives."""
    run = Run(tiny_scene, tiny.true_splats(), CONFIG, None)
    photo = run.shots.next(1, 0.0, 1, torch.zeros(3))
    shift, strength = 0.2, 0.7
    shot = ShiftedShot(photo, shift, strength)
    settings = raster_settings(shot.view, CONFIG, 1, depth=True)
    rendering = run.kernels.render(
        run.params, shot.view.cam_from_world, shot.view.intrinsics, torch.zeros(3), settings
    )  # fmt: skip
    loss, v = shot.loss(run.kernels, rendering, 0.2)
    assert rendering.depth is not None
    leaves = [t.clone().double().requires_grad_() for t in (rendering.image, rendering.alpha, rendering.depth)]
    image, alpha, depth = leaves
    counts = torch.nonzero(shot.mask)
    assert len(counts) > 500
    rows, columns = counts.T
    place = columns + photo.view.intrinsics[0].double() * shift * alpha[rows, columns] / depth[rows, columns]
    left = place.detach().floor().long().clamp(0, 62)
    target = photo.target.double()
    low, high = target[rows, left], target[rows, left + 1]
    seen = low + (place - left)[:, None] * (high - low)
    expected = (image[rows, columns] - seen).abs().mean()
    assert loss == pytest.approx(float(expected.detach()), rel=1e-4)
    wanted = torch.autograd.grad(strength * expected, leaves)
    for have, want in zip((v.image, v.alpha, v.depth), wanted, strict=True):
        assert have is not None
        different = (have.double() - want).abs() > 1e-4 * want.abs().max()
        # Signs of differences that are 0 to the last bit may differ.
        assert different.double().mean() < 1e-3


def test_true_splats_seen_from_beside_fit_the_photo(tiny_scene: Scene):
    """At the true depth both pictures agree; with the splats moved away they do not."""
    losses = []
    for offset in (0.0, 0.6):
        splats = replace(tiny.true_splats(), means=tiny.true_splats().means * (1 + offset))
        run = Run(tiny_scene, splats, CONFIG, None)
        photo = run.shots.next(1, 0.0, 1, torch.zeros(3))
        shot = ShiftedShot(photo, 0.05, 1.0)
        settings = raster_settings(shot.view, CONFIG, 1, depth=True)
        rendering = run.kernels.render(
            run.params, shot.view.cam_from_world, shot.view.intrinsics, torch.zeros(3), settings
        )  # fmt: skip
        losses.append(shot.loss(run.kernels, rendering, 0.2)[0])
    assert losses[0] < 0.05 < 0.1 < losses[1]


def test_rows_are_sampled_between_pixels():
    image = torch.tensor([[[0.0], [1.0], [4.0]]])
    values, slope = sampled_rows(image, np.array([[0.25, 1.5, 2.0]], np.float32))
    assert values.flatten().tolist() == [0.25, 2.5, 4.0]
    assert slope.flatten().tolist() == [1.0, 3.0, 3.0]


def test_a_shifted_camera_sees_points_further_left(tiny_scene: Scene):
    view = Run(tiny_scene, tiny.initial(), CONFIG, None).views.view(0, 1)
    moved = shifted(view, 0.5)
    point = torch.tensor([0.1, 0.2, 0.3, 1.0])
    assert torch.allclose((moved.cam_from_world @ point) - (view.cam_from_world @ point), torch.tensor([-0.5, 0, 0, 0]))


def test_reports_are_of_photos(tiny_scene: Scene):
    """A virtual photo that is nothing like the scene leaves no trace in the reported numbers of its step."""
    wrong = [ExtraView(view.camera, 10 * np.ones_like(view.image), view.weight) for view in tiny.extra_views()]
    reports = [event for event in go(tiny_scene, wrong, virtual=1e-9) if isinstance(event, Stepped)]
    assert len(reports) == 6
    assert all(event.loss < 1 for event in reports)
