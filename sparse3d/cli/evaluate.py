# SPDX-License-Identifier: Apache-2.0
"""`sparse3d eval`: a run compared with its held-out photos again, or every training photo held out in turn."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from sparse3d.cli.parse import parse
from sparse3d.cli.table import aligned
from sparse3d.cli.terminal import Bar, say
from sparse3d.errors import UsageError

if TYPE_CHECKING:
    from sparse3d.judge.evaluate import Scores
    from sparse3d.records.scene import Scene
    from sparse3d.runs.finished import FinishedRun


@dataclass(frozen=True)
class Args:
    """Compare a run with the photos that it did not train on."""

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Folder of a finished run."""
    leave_one_out: bool = False
    """Train once more for each training photo, without it, and compare with it: for a few photos, where none can be
    held out. Takes as long as that many runs. The result is also written to RUN/leave_one_out.json."""
    scene: Path | None = None
    """The scene, if it lies elsewhere than when the run was made."""
    lpips_weights: Path | None = None
    """Weights of LPIPS (safetensors); without them lpips is null."""
    json: bool = False
    """One JSON object instead of a table."""


def main(words: Sequence[str]) -> int:
    args = parse(Args, words, prog="eval")
    from sparse3d.runs.finished import FinishedRun

    run = FinishedRun.open(args.run)
    result = _leave_one_out(args, run) if args.leave_one_out else _held_out(args, run)
    if args.json:
        print(json.dumps(result, allow_nan=False))
    else:
        _print(result)
    return 0


def _held_out(args: Args, run: FinishedRun) -> dict[str, Any]:
    from sparse3d.judge.align import aligned_scores
    from sparse3d.judge.background import evaluation_background
    from sparse3d.judge.evaluate import evaluate, image_renderer
    from sparse3d.runs.masked import masked_notes
    from sparse3d.runs.report import alpha_record, fitting_of

    train = run.config.train
    found = run.splats
    # Held-out cameras are never refined, and aligning them goes by the extent that training saw.
    with _loading(args, run) as scene:
        splats = scene.frame.splats_in(found)
        if not scene.test:
            raise UsageError(
                f"{args.run}: this run held out no photo, so there is nothing to compare with; use --leave-one-out, or "
                "train with --test-every 4"
            )
        render_image = image_renderer(splats, evaluation_background(scene, train.background), train.backend)
        with Bar("comparing") as bar:
            bar.show(None, f"{len(scene.test)} photos")
            lpips = _lpips(args)
            values = _values(evaluate(scene, scene.test, render_image, lpips))
            if scene.camera_source != "given":
                moved, _ = aligned_scores(scene, splats, fitting_of(scene, train), lpips)
                values |= {f"{name}_aligned": getattr(moved, name) for name in ("psnr", "ssim", "lpips")}
            values |= alpha_record(scene, splats, train.backend)
        for note in masked_notes(scene):
            say(f"note: {note}")
        for warning in values.get("warnings", ()):
            say(f"warning: {warning}")
        counted = sum(row["psnr"] is not None for row in values["per_view"])
        held = {"held_out": len(scene.test), **({"held_out_counted": counted} if counted < len(scene.test) else {})}
        return {"run": str(args.run), **held, "num_splats": splats.num_splats, **values}


def _leave_one_out(args: Args, run: FinishedRun) -> dict[str, Any]:
    from sparse3d.bench.leave_one_out import leave_one_out
    from sparse3d.formats import atomic_file

    # Cameras as the run got them: refined ones have learned from the photo that is left out.
    with _loading(args, run) as scene:
        if scene.camera_source != "given":
            say("note: the cameras come from structure from motion that saw every photo; points and splats do not")
        with _BarForEach() as bars:
            scores = leave_one_out(scene, run.config, _lpips(args), bars.show)
        result = {"run": str(args.run), "left_out_in_turn": len(scene.train), "cameras": scene.camera_source}
    result |= _values(scores)
    with atomic_file(args.run / "leave_one_out.json") as file:
        file.write(json.dumps(result, indent=1, ensure_ascii=False, allow_nan=False).encode("utf-8"))
    return result


class _BarForEach:
    """One bar a photo: the one before ends when the name changes."""

    def __init__(self) -> None:
        self._name = ""
        self._bar: Bar | None = None

    def __enter__(self) -> _BarForEach:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if self._bar is not None:
            self._bar.__exit__(kind)
            self._bar = None

    def show(self, name: str, fraction: float, text: str) -> None:
        if name != self._name or self._bar is None:
            self.__exit__(None)
            self._name, self._bar = name, Bar(f"without {name}")
            self._bar.__enter__()
        self._bar.show(fraction, text)


@contextlib.contextmanager
def _loading(args: Args, run: FinishedRun) -> Iterator[Scene]:
    """The run's scene with the cameras as the run got them."""
    with contextlib.ExitStack() as stack:
        with Bar("loading") as bar:
            opened = run.scene(args.scene, lambda what, f: bar.show(f, what), refined=False)
            scene = stack.enter_context(opened)
        yield scene


def _lpips(args: Args) -> Any:
    if args.lpips_weights is None:
        return None
    from sparse3d.loss import Lpips

    return Lpips(args.lpips_weights)


def _values(scores: Scores) -> dict[str, Any]:
    out: dict[str, Any] = {"psnr": scores.psnr, "ssim": scores.ssim, "lpips": scores.lpips}
    if scores.psnr_full is not None:
        out |= {"psnr_full": scores.psnr_full, "ssim_full": scores.ssim_full}
    return out | {"per_view": list(scores.per_view)}


def _print(result: dict[str, Any]) -> None:
    rows = [("photo", "PSNR", "SSIM", "LPIPS")]
    for name, view in [*((view["name"], view) for view in result["per_view"]), ("mean", result)]:
        rows.append((name, _number(view, "psnr", ".2f"), _number(view, "ssim", ".4f"), _number(view, "lpips", ".4f")))
    if result.get("psnr_aligned") is not None:
        moved = {name: result[f"{name}_aligned"] for name in ("psnr", "ssim", "lpips")}
        values = _number(moved, "psnr", ".2f"), _number(moved, "ssim", ".4f"), _number(moved, "lpips", ".4f")
        rows.append(("mean, cameras aligned", *values))
    print(aligned(rows))
    if result.get("alpha_error") is not None:
        print(f"alpha differs from the photos' by {result['alpha_error']:.4f} in the mean")


def _number(values: dict[str, Any], key: str, form: str) -> str:
    return "-" if values.get(key) is None else f"{values[key]:{form}}"
