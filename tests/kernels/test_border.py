# SPDX-License-Identifier: Apache-2.0
"""Every array that enters the CPU kernels is checked: here each argument in turn is wrong in type, layout, or shape."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from parity import CPU_LEVELS, CPU_MISSING
from synthetic import VIEW_NAMES, make_scene
from torch import Tensor

from sparse3d.errors import DataError
from sparse3d.kernels.records import AdamHyper, AdamState, DensityStats, OutputGradients, View
from sparse3d.splats import PARAMETER_NAMES

pytestmark = pytest.mark.skipif(not CPU_LEVELS, reason=CPU_MISSING)

SCENE = make_scene(5, num_splats=40).to(torch.float32)
H, W = SCENE.settings.height, SCENE.settings.width


def _strided(tensor: Tensor) -> Tensor:
    """The same values, every second one in memory."""
    return torch.stack([tensor, tensor], dim=-1)[..., 0]


DAMAGE: dict[str, Callable[[Tensor], Tensor]] = {
    "float64": lambda t: t.double(),
    "strided": _strided,
    "short": lambda t: t[:-1].contiguous(),
    "long": lambda t: torch.cat([t, t[:1]]),
    "one axis more": lambda t: t[None],
    "another device": lambda t: t.to("meta"),
}


def _arrays() -> dict[str, Tensor]:
    """A good array for every argument, by the name that an error would say."""
    n = SCENE.params["means"].shape[0]
    good = {name: value.clone().contiguous() for name, value in SCENE.params.items()}
    out = {**good, "cam_from_world": SCENE.cam_from_world[0].clone(), "intrinsics": SCENE.intrinsics[0].clone()}
    out |= {"background": torch.zeros(3), "image": torch.rand(H, W, 3), "target": torch.rand(H, W, 3)}
    out |= {"mask": torch.ones(H, W), "v_image": torch.ones(H, W, 3), "v_alpha": torch.ones(H, W)}
    out["v_depth"] = torch.ones(H, W)
    for prefix in ("params.", "m.", "v."):
        out |= {prefix + name: torch.zeros_like(value) for name, value in good.items()}
    out |= {f"stats[{i}]": torch.zeros(n) for i in range(6)}
    out["count_pixels"] = torch.zeros(_num_tiles() * 16, dtype=torch.uint8)
    return out


def _num_tiles() -> int:
    from sparse3d.kernels import cpu

    return cpu.module().make_view(SCENE.cam_from_world[0], SCENE.intrinsics[0], W, H, 3, False, 0.01).num_tiles


def _rasterize(given: dict[str, Tensor]) -> None:
    from sparse3d.kernels.cpu.arena import Arena
    from sparse3d.kernels.cpu.stages import Rasterizer

    view = View(W, H, given["cam_from_world"], given["intrinsics"])
    Rasterizer(Arena()).forward(
        [given[k] for k in PARAMETER_NAMES],
        view,
        given["background"],
        SCENE.settings,
        count_pixels=given["count_pixels"],
    )


def _rasterize_op(given: dict[str, Tensor]) -> None:
    from sparse3d.kernels import rasterize

    splats = {k: given[k] for k in PARAMETER_NAMES}
    pose, lens, background = (given[k][None] for k in VIEW_NAMES)
    rasterize(
        **splats, cam_from_world=pose, intrinsics=lens, background=background, settings=SCENE.settings, backend="cpu"
    )


def _step_render(given: dict[str, Tensor]) -> None:
    from sparse3d.kernels.cpu.step import CpuSplatStep

    view = View(W, H, given["cam_from_world"], given["intrinsics"])
    CpuSplatStep().render({k: given[k] for k in PARAMETER_NAMES}, view, given["background"], SCENE.settings)


def _photometric(given: dict[str, Tensor]) -> None:
    from sparse3d.kernels.cpu.photometric import CpuPhotometric

    CpuPhotometric()(given["image"], given["target"], given["mask"], 0.2)


def _loss_op(given: dict[str, Tensor]) -> None:
    from sparse3d.kernels import l1_ssim_loss

    l1_ssim_loss(given["image"], given["target"], given["mask"])


def _statistics(given: dict[str, Tensor]) -> None:
    from sparse3d.kernels import image_statistics

    image_statistics(given["image"], given["target"], given["mask"])


def _rendered(params: dict[str, Tensor]):
    from sparse3d.kernels.cpu.step import CpuSplatStep

    step = CpuSplatStep()
    view = View(W, H, SCENE.cam_from_world[0], SCENE.intrinsics[0])
    step.render(params, view, torch.zeros(3), replace(SCENE.settings, depth=True, stats=True))
    return step


def _arriving(given: dict[str, Tensor]) -> OutputGradients:
    return OutputGradients(given["v_image"], given["v_alpha"], given["v_depth"])


def _backward(given: dict[str, Tensor]) -> None:
    good = _arrays()
    step = _rendered({k: good[k] for k in PARAMETER_NAMES})
    step.backward({k: given[k] for k in PARAMETER_NAMES}, _arriving(given), camera=True)


def _backward_adam(given: dict[str, Tensor]) -> None:
    good = _arrays()
    at = {k: good[k] for k in PARAMETER_NAMES}
    step = _rendered(at)
    m, v = ({k: given[p + k] for k in PARAMETER_NAMES} for p in ("m.", "v."))
    stats = DensityStats(*(given[f"stats[{i}]"] for i in range(6)))
    hyper = AdamHyper(lr=dict.fromkeys(PARAMETER_NAMES, 1e-3))
    params = {k: given["params." + k] for k in PARAMETER_NAMES}
    given_at = {k: given[k] for k in PARAMETER_NAMES}
    step.backward_adam(params, AdamState(m, v), hyper, _arriving(given), stats=stats, camera=True, at=given_at)


IMAGES = ("image", "target", "mask")
GRADIENTS = ("v_image", "v_alpha", "v_depth")
CALLS: dict[Callable[[dict[str, Tensor]], None], tuple[str, ...]] = {
    _rasterize: (*PARAMETER_NAMES, *VIEW_NAMES, "count_pixels"),
    _rasterize_op: (*PARAMETER_NAMES, *VIEW_NAMES),
    _step_render: (*PARAMETER_NAMES, *VIEW_NAMES),
    _photometric: IMAGES,
    _loss_op: IMAGES,
    _statistics: IMAGES,
    _backward: (*PARAMETER_NAMES, *GRADIENTS),
    _backward_adam: (
        *PARAMETER_NAMES,
        *GRADIENTS,
        *(prefix + name for prefix in ("params.", "m.", "v.") for name in PARAMETER_NAMES),
        *(f"stats[{i}]" for i in range(6)),
    ),
}
# Of these the call itself makes a contiguous copy.
COPIED = {(_photometric, "image"), *((call, n) for call in (_loss_op, _statistics) for n in ("image", "target"))}
COPIED |= {(call, name) for call in (_backward, _backward_adam) for name in GRADIENTS}
COPIED |= {(_rasterize_op, name) for name in (*PARAMETER_NAMES, *VIEW_NAMES)}


def _name_of(value: object) -> str:
    return getattr(value, "__name__", str(value)).strip("_")


def _cases() -> list[tuple[Callable[[dict[str, Tensor]], None], str, str]]:
    """(call, argument, damage); torch itself looks at the devices of an operator's arguments."""
    return [
        (call, name, damage)
        for call, names in CALLS.items()
        for name in names
        for damage in DAMAGE
        if not (damage == "strided" and (call, name) in COPIED)
        and not (damage == "another device" and call in (_loss_op, _rasterize_op))
    ]


@pytest.mark.parametrize("call", CALLS, ids=_name_of)
def test_good_arrays_pass(call: Callable[[dict[str, Tensor]], None]) -> None:
    call(_arrays())


@pytest.mark.parametrize(("call", "name", "damage"), _cases(), ids=_name_of)
def test_a_wrong_array_is_an_error_that_names_it(
    call: Callable[[dict[str, Tensor]], None], name: str, damage: str
) -> None:
    given = _arrays()
    given[name] = DAMAGE[damage](given[name])
    # These two give the sizes that later arrays are compared with, so that the error may be at another one.
    wanted = {"means": "as in means|means (is|has)", "image": "as in image|image (is|has)"}.get(name)
    with pytest.raises(DataError, match=wanted or f"{re.escape(name)} (is|has)"):
        call(given)


@pytest.mark.parametrize(("call", "name"), sorted(COPIED, key=str), ids=_name_of)
def test_an_array_that_is_copied_may_have_any_layout(call: Callable[[dict[str, Tensor]], None], name: str) -> None:
    given = _arrays()
    given[name] = _strided(given[name])
    assert not given[name].is_contiguous()
    call(given)


@pytest.mark.parametrize("name", VIEW_NAMES)
@pytest.mark.parametrize("count", [0, 2])
def test_one_pose_one_lens_and_one_background_a_view(name: str, count: int) -> None:
    """C of one array is not that of the others."""
    from sparse3d.kernels import rasterize

    given = SCENE.tensors()
    given[name] = torch.cat([given[name]] * 2)[:count]
    with pytest.raises(DataError, match=name):
        rasterize(*SCENE.with_tensors(given).arguments(), backend="cpu")


def test_gradients_need_the_splats_of_the_rendering() -> None:
    """Fewer or more splats than were rendered: the kernels' records would point past their end."""
    good = _arrays()
    params = {k: good[k] for k in PARAMETER_NAMES}
    step = _rendered(params)
    fewer = {k: v[:-1].contiguous() for k, v in params.items()}
    with pytest.raises(DataError, match="N = 40 as in the rendering"):
        step.backward(fewer, OutputGradients(torch.ones(H, W, 3)))
