# SPDX-License-Identifier: Apache-2.0
"""The measurement as a whole: what is planned, run, kept, refused and written. The training process is
played."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from sparse3d import config as configs
from sparse3d.bench import cells
from sparse3d.bench.quality import run
from sparse3d.bench.quality_plan import QualityConfig, plan
from sparse3d.errors import UsageError
from sparse3d.load.views import split_views
from sparse3d.runs.layers import with_few_views
from tests.bench.helpers import resolve, write_scene
from tests.train import tiny

NAMES = [camera.name for camera in tiny.cameras()]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scene(tmp_path_factory.mktemp("scenes") / "Szene é 1")


class Played:
    """Stands for the training process: writes what a run leaves, with a PSNR that its seed and settings give."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.fail: Sequence[str] = ()
        self.cameras = "given"
        self.test: Sequence[str] | None = None
        self.deaf_to = ""

    def __call__(self, words: Sequence[str], log: Path) -> int:
        self.calls.append(list(words))
        out = Path(words[list(words).index("--out") + 1])
        if any(part in out.name for part in self.fail):
            log.write_text("note: something\nsparse3d: photo x is cut off\n", encoding="utf-8")
            return 3
        own = list(words[: list(words).index("--out")])
        if self.deaf_to in own:
            at = own.index(self.deaf_to)
            del own[at : at + 2]
        cfg, _ = with_few_views(resolve(own), 3)
        out.mkdir(parents=True, exist_ok=True)
        (out / "config.toml").write_text(configs.to_toml(cfg), encoding="utf-8")
        (out / "checkpoint.safetensors").write_bytes(b"large")
        cut = cfg.scene
        split = split_views(
            NAMES, [None] * len(NAMES), views=cut.views, test_every=cut.test_every, protocol=cut.protocol, test=cut.test
        )
        test = [NAMES[i] for i in split.test] if self.test is None else self.test
        splits = {NAMES[i]: "train" for i in split.train} | dict.fromkeys(test, "test")
        record = {"cameras": [{"name": name, "split": splits.get(name, "unused")} for name in NAMES]}
        (out / "cameras.json").write_text(json.dumps(record), encoding="utf-8")
        psnr = (
            20.0 + cfg.train.seed + (2.0 if cfg.train.terms.dropout else 0.0) + (0.04 if cfg.train.steps > 100 else 0.0)
        )
        metrics = {
            "psnr": psnr, "ssim": 0.5, "lpips": None, "seconds": {"total": 7.0}, "peak_rss_mb": 300.0,
            "num_splats": 100, "cameras": self.cameras,
        }  # fmt: skip
        (out / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
        return 0


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Played:
    double = Played()
    monkeypatch.setattr(cells, "_train", double)
    return double


def measure(scene: Path, out: Path, *, resume: bool = False, said: list[str] | None = None, **settings: Any) -> Any:
    cfg = QualityConfig(**{"protocol": "every8", "views": (3,), "seeds": 2, **settings})
    return run(
        plan([scene], cfg, resolve), cfg, out, resolve, resume=resume, say=(said if said is not None else []).append
    )


def test_every_scene_number_of_views_and_seed_once(scene: Path, tmp_path: Path, played: Played) -> None:
    said: list[str] = []
    result = measure(scene, tmp_path / "q", views=(3, 4), said=said)
    assert [(cell["views"], cell["seed"]) for cell in result["cells"]] == [(3, 0), (3, 1), (4, 0), (4, 1)]
    assert len({cell["cell"] for cell in result["cells"]}) == 4
    assert said[1] == "2 of 4: Szene é 1, 3 views, seed 1: PSNR 23.04 dB, SSIM 0.500, 7 s, 300 MB, 100 splats"
    assert result["cells"][0]["test"] == [NAMES[0], NAMES[8]]
    words = played.calls[0]
    assert words[words.index("--protocol") + 1] == "every8"
    assert [row["protocol"] for row in result["rows"]] == [
        f"adapted: Szene é 1 is not one of the 7 Mip-NeRF 360 scenes; published with 12 and 24 views, not {views}"
        for views in (3, 4)
    ]
    assert json.loads((tmp_path / "q" / "results.json").read_text("utf-8")) == result
    assert "| Szene é 1 | 3 | 22.54 ± 0.71 |" in (tmp_path / "q" / "table.md").read_text("utf-8")
    assert not list((tmp_path / "q").glob("runs/*/checkpoint*"))


def test_resume_runs_only_what_is_missing_or_has_other_settings(scene: Path, tmp_path: Path, played: Played) -> None:
    out = tmp_path / "q"
    first = measure(scene, out)
    with pytest.raises(UsageError, match="is not empty; give --resume"):
        measure(scene, out)
    assert len(played.calls) == 2
    said: list[str] = []
    assert measure(scene, out, resume=True, said=said) == first
    assert len(played.calls) == 2
    assert all(line.endswith(", kept") for line in said)
    # One without its numbers, and a third seed.
    (out / "runs" / first["cells"][1]["cell"] / "metrics.json").unlink()
    measure(scene, out, resume=True, seeds=3)
    assert [call[call.index("--seed") + 1] for call in played.calls[2:]] == ["1", "2"]
    # Other settings: all again.
    measure(scene, out, resume=True, options=("--steps", "77"))
    assert len(played.calls) == 6


def test_a_changed_preset_is_another_setting(
    scene: Path, tmp_path: Path, played: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "configs"
    folder.mkdir()
    for path in configs.presets_folder().glob("*.toml"):
        (folder / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(configs, "presets_folder", lambda: folder)
    measure(scene, tmp_path / "q")
    few = folder / "few_views.toml"
    few.write_text(few.read_text("utf-8") + "\n# another value\n", encoding="utf-8")
    measure(scene, tmp_path / "q", resume=True)
    assert len(played.calls) == 4


def test_a_failed_run_does_not_end_the_others(scene: Path, tmp_path: Path, played: Played) -> None:
    played.fail = ("-s0",)
    result = measure(scene, tmp_path / "q")
    assert [cell["ok"] for cell in result["cells"]] == [False, True]
    assert result["cells"][0]["why"] == "photo x is cut off (exit code 3)"
    assert "23.04 (1 of 2 runs)" in (tmp_path / "q" / "table.md").read_text("utf-8")
    # It is not kept.
    played.fail = ()
    assert [cell["ok"] for cell in measure(scene, tmp_path / "q", resume=True)["cells"]] == [True, True]
    assert len(played.calls) == 3


def test_a_run_that_did_something_else_failed(scene: Path, tmp_path: Path, played: Played) -> None:
    played.test = [NAMES[0]]
    why = measure(scene, tmp_path / "a", seeds=1)["cells"][0]["why"]
    assert why == f"other test photos were used than the selection names (1 for 2; {NAMES[8]})"
    played.test, played.cameras = None, "sfm_all"
    why = measure(scene, tmp_path / "b", seeds=1)["cells"][0]["why"]
    assert why == "the cameras come from structure from motion that saw the held-out photos"
    played.cameras, played.deaf_to = "given", "--terms.dropout"
    result = measure(scene, tmp_path / "c", seeds=1, ablate=True, only="dropout")
    assert result["cells"][1]["why"].startswith("opacity dropout could not be left out: train.terms.dropout is ")


def test_ablation_is_paired_by_seed(scene: Path, tmp_path: Path, played: Played) -> None:
    result = measure(scene, tmp_path / "q", seeds=3, ablate=True, only="dropout")
    (row,) = result["ablation"]
    assert (row["without"], row["pairs"]) == ("opacity dropout", 3)
    assert row["difference"] == pytest.approx(-2.0)
    assert row["difference_sd"] == pytest.approx(0.0, abs=1e-12)
    assert [cell["seed"] for cell in result["cells"][3:]] == [0, 1, 2]
    assert result["rows"][0]["runs"] == 3
    # Without the settings for few views the term is off, and nothing is left out.
    said: list[str] = []
    measure(scene, tmp_path / "p", ablate=True, only="dropout", options=("--few-views", "off"), said=said)
    assert said[-1] == "ablation: nothing is on that could be left out"


def test_tuning_never_names_a_test_photo(scene: Path, tmp_path: Path, played: Played) -> None:
    ways: list[dict[str, Any]] = [{"draws": 4}, {"leave_one_out": True}]
    for settings in ways:
        out = tmp_path / str(len(played.calls))
        result = measure(scene, out, seeds=1, **settings)
        for cell in result["cells"]:
            assert not {NAMES[0], NAMES[8]} & {*cell["train"], *cell["test"]}
        assert result["tuning"] is True
        assert {row["protocol"] for row in result["rows"]} == {"tuning draw, not the protocol"}
        assert "Tuning draw, not the protocol" in (out / "table.md").read_text("utf-8")
    assert all("--protocol" not in call for call in played.calls)


def test_the_ceiling_comes_first(scene: Path, tmp_path: Path, played: Played) -> None:
    result = measure(scene, tmp_path / "q", ceiling=True, seeds=1)
    assert played.calls[0][played.calls[0].index("--preset") + 1] == "quality"
    first, second = result["cells"]
    assert (first["draw"], first["views"], len(first["train"])) == ("ceiling", 8, 8)
    assert first["test"] == second["test"]
    assert "| Szene é 1 | 8 (ceiling) |" in (tmp_path / "q" / "table.md").read_text("utf-8")


def test_what_is_refused_before_anything_runs(scene: Path, tmp_path: Path, played: Played) -> None:
    def refused(match: str, **settings: Any) -> None:
        with pytest.raises(UsageError, match=match):
            measure(scene, tmp_path / "q", **settings)

    refused("--points .*held-out ones may have helped", options=("--points", "a.ply"))
    refused("--views=all after -- is set by `bench quality` itself", options=("--views=all",))
    refused("give one of them", draws=2, leave_one_out=True)
    refused("--ceiling measures on the protocol's test photos", draws=2, ceiling=True)
    refused("--seeds 0", seeds=0)
    refused("--views 3,3: give different numbers", views=(3, 3))
    refused("--ablate-only drop: there is nothing of that name", ablate=True, only="drop")
    refused("unknown option --no-such", options=("--no-such", "1"))
    refused("the scene has 8 training photos with protocol every8", views=(9,))
    refused("unknown preset 'fats'; did you mean 'fast'", preset="fats")
    assert played.calls == []
    assert not (tmp_path / "q").exists()


def test_two_scenes_of_one_name(tmp_path: Path, played: Played) -> None:
    scenes = [write_scene(tmp_path / part / "table") for part in ("a", "b")]
    cfg = QualityConfig("every8", seeds=1)
    planned = plan(scenes, cfg, resolve)
    assert [cell.scene for cell in planned.cells] == ["table", "table (2)"]
    assert len({cell.name for cell in planned.cells}) == 2
