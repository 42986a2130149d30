# SPDX-License-Identifier: Apache-2.0
"""Every command once on the sample scene, small, with a folder whose name has a space and letters beyond ASCII."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from sparse3d.bench.step import LOAD_MAX
from sparse3d.cli.main import main
from tests.cli.helpers import make_scene, run

SMALL = ["--views", "4", "--max-side", "64", "--steps", "12", "--schedule.half-size-until", "0", "--density.cap", "600"]
METRICS = {"schema", "psnr", "ssim", "lpips", "num_splats", "seconds", "peak_rss_mb", "steps", "views", "per_view",
           "cameras", "device", "seed", "terms", "version"}  # fmt: skip


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, sample_scene: Path) -> Path:
    path = tmp_path_factory.mktemp("scenes") / "Mein Tisch é"
    shutil.copytree(sample_scene, path)
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, scene: Path) -> Path:
    """The folder of a finished run."""
    path = tmp_path_factory.mktemp("runs") / "Lauf ü 1"
    assert main(["train", str(scene), *SMALL, "--out", str(path)]) == 0
    return path


def subprocess_words(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "sparse3d", *(str(word) for word in words)]


def test_train_writes_the_run_and_the_table(scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "Lauf é"
    result = run(capsys, "train", scene, *SMALL, "--out", out)
    assert result.code == 0, result.err
    names = {path.name for path in out.iterdir()}
    assert {"config.toml", "splat.ply", "metrics.json", "events.jsonl", "compare.png", "coverage.png", "cameras.json",
            "support.safetensors", "report.html", "checkpoint.safetensors", "checkpoint.json"} <= names  # fmt: skip
    assert "lock" not in names
    assert not [name for name in names if name.endswith(".tmp")]
    metrics = json.loads((out / "metrics.json").read_text())
    assert set(metrics) >= METRICS
    assert {"total", "init", "train"} <= set(metrics["seconds"])
    assert metrics["views"] == {"train": 4, "test": 3}
    assert metrics["seconds"]["total"] >= metrics["seconds"]["train"] > 0
    lines = result.out.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith(
        f"quality: PSNR {metrics['psnr']:.2f} dB, SSIM {metrics['ssim']:.4f} on 3 held-out photos; "
        f"{metrics['coverage']['unseen']:.0%} of what they show was guessed; "
    )
    assert re.fullmatch(rf"page: {re.escape(str(out / 'report.html'))} \(\d\.\d MB, opens in any browser\)", lines[1])
    assert lines[2] == f"next: sparse3d export '{out}' '{out / 'phone.html'}' --max-size 2MB"
    table = run(capsys, "info", out).out
    assert re.search(rf"^PSNR +{metrics['psnr']:.2f} dB +3 held-out photos$", table, re.MULTILINE)
    assert re.search(r"^LPIPS +-  ", table, re.MULTILINE)
    assert f"{metrics['coverage']['unseen']:.0%}" in next(s for s in table.splitlines() if s.startswith("guessed"))
    assert result.err.startswith(f"run folder: {out}\n")
    assert "preset default" in result.err
    again = run(capsys, "train", scene, *SMALL, "--out", out)
    assert again.code == 2
    assert "is not empty" in again.err


def test_nothing_held_out_is_said_with_what_to_do(
    scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = run(capsys, "train", scene, *SMALL, "--test-every", "0", "--out", tmp_path / "r")
    assert result.code == 0, result.err
    assert result.out.startswith("quality: no photo was held out to measure with; ")
    table = run(capsys, "info", tmp_path / "r").out
    assert re.search(r"^PSNR +-  ", table, re.MULTILINE)
    assert "no photo was held out: train with --test-every 4, or use `sparse3d eval RUN --leave-one-out`" in table
    assert json.loads((tmp_path / "r" / "metrics.json").read_text())["psnr"] is None
    evaluated = run(capsys, "eval", tmp_path / "r")
    assert evaluated.code == 2
    assert "use --leave-one-out" in evaluated.err


def test_json_is_one_event_a_line_and_nothing_else(
    scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = run(capsys, "train", scene, *SMALL, "--eval-every", "6", "--out", tmp_path / "r", "--json")
    assert result.code == 0
    events = [json.loads(line) for line in result.out.splitlines()]
    kinds = [event["event"] for event in events]
    assert kinds[0] == "planned"
    assert kinds[-2:] == ["finished", "result"]
    assert {"loading", "started", "stepped", "evaluated", "saved"} <= set(kinds)
    metrics = json.loads((tmp_path / "r" / "metrics.json").read_text())
    for key in METRICS - {"per_view"}:
        assert events[-1][key] == metrics[key]


def test_resume_needs_only_the_run(scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--out", tmp_path / "r"]
    assert run(capsys, "train", scene, *SMALL, *words).code == 0
    before = json.loads((tmp_path / "r" / "metrics.json").read_text())
    splats = (tmp_path / "r" / "splat.ply").read_bytes()
    result = run(capsys, "train", "--resume", *words)
    assert result.code == 0, result.err
    assert "going on after step 12 of 12" in result.err
    assert json.loads((tmp_path / "r" / "metrics.json").read_text())["psnr"] == before["psnr"]
    assert (tmp_path / "r" / "splat.ply").read_bytes() == splats


def test_overwrite_leaves_what_is_not_of_a_run(scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    assert run(capsys, "train", scene, *SMALL, "--out", tmp_path).code == 2
    assert run(capsys, "train", scene, *SMALL, "--out", tmp_path, "--overwrite").code == 0
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("count", [1, 2])
def test_one_and_two_photos_without_anything_in_common(
    count: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = make_scene(tmp_path / "s", count=count)
    result = run(capsys, "train", scene, "--steps", "5", "--out", tmp_path / "r")
    assert result.code == 0, result.err
    assert json.loads((tmp_path / "r" / "metrics.json").read_text())["views"] == {"train": count, "test": 0}


def test_photos_of_different_sizes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scene = make_scene(tmp_path / "s", count=3)
    with Image.open(scene / "images" / "001.png") as image:
        image.resize((64, 48)).save(scene / "images" / "001.png")
    result = run(capsys, "train", scene, "--steps", "5", "--out", tmp_path / "r")
    assert result.code == 0, result.err
    cameras = json.loads((tmp_path / "r" / "cameras.json").read_text())["cameras"]
    assert [(c["width"], c["height"]) for c in cameras] == [(32, 24), (64, 48), (32, 24)]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for another process")
def test_ctrl_c_saves_and_resume_wants_the_same_settings(
    scene: Path, tmp_path: Path, repo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", scene, *SMALL, "--steps", "100000", "--report-every", "1", "--out", tmp_path / "r é", "--json"]
    process = subprocess.Popen(
        subprocess_words(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=repo
    )
    assert process.stdout is not None
    for line in process.stdout:
        if json.loads(line)["event"] == "stepped":
            break
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "stopping after this step" in err
    assert f"sparse3d train --out '{tmp_path / 'r é'}' --resume" in err
    events = [json.loads(line) for line in out.splitlines()]
    assert events[-1]["event"] == "finished"
    assert events[-1]["reason"] == "stopped"
    step = json.loads((tmp_path / "r é" / "checkpoint.json").read_text())["step"]
    assert step >= 1
    assert f"not finished: {step} of 100000 steps" in run(capsys, "info", tmp_path / "r é").out
    other = run(capsys, "train", "--out", tmp_path / "r é", "--resume", "--steps", str(step + 3))
    assert other.code == 2
    assert "cannot resume with other settings than the run began with (steps)" in other.err


@pytest.mark.skipif(sys.platform == "win32", reason="pipes end differently on Windows")
def test_a_reader_of_events_that_leaves_ends_the_run_with_everything_saved(
    scene: Path, tmp_path: Path, repo: Path
) -> None:
    words = ["train", scene, *SMALL, "--steps", "100000", "--report-every", "1", "--out", tmp_path / "r", "--json"]
    process = subprocess.Popen(
        subprocess_words(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=repo
    )
    assert process.stdout is not None
    assert process.stderr is not None
    for line in process.stdout:
        if json.loads(line)["event"] == "stepped":
            break
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=120) in (0, 130), err
    assert "Traceback" not in err
    assert (tmp_path / "r" / "checkpoint.safetensors").is_file()


def test_eval_finds_the_numbers_of_training(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    metrics = json.loads((trained / "metrics.json").read_text())
    result = run(capsys, "eval", trained, "--json")
    assert result.code == 0, result.err
    found = json.loads(result.out)
    assert found["psnr"] == pytest.approx(metrics["psnr"], abs=1e-6)
    assert found["ssim"] == pytest.approx(metrics["ssim"], abs=1e-6)
    assert found["held_out"] == 3
    table = run(capsys, "eval", trained).out
    assert f"mean                {metrics['psnr']:.2f}" in table


def test_leave_one_out_compares_each_training_photo(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = run(capsys, "eval", trained, "--leave-one-out", "--json")
    assert result.code == 0, result.err
    found = json.loads(result.out)
    cameras = json.loads((trained / "cameras.json").read_text())["cameras"]
    assert [row["name"] for row in found["per_view"]] == [c["name"] for c in cameras if c["split"] == "train"]
    assert found["psnr"] == pytest.approx(np.mean([row["psnr"] for row in found["per_view"]]))
    assert json.loads((trained / "leave_one_out.json").read_text()) == found


def test_info_of_a_run_a_file_and_a_scene(trained: Path, scene: Path, capsys: pytest.CaptureFixture[str]) -> None:
    metrics = json.loads((trained / "metrics.json").read_text())
    values = json.loads(run(capsys, "info", trained, "--json").out)
    assert (values["kind"], values["state"]) == ("run", "finished")
    assert values["num_splats"] == metrics["num_splats"]
    assert "finished" in run(capsys, "info", trained).out
    values = json.loads(run(capsys, "info", trained / "splat.ply", "--json").out)
    assert (values["kind"], values["format"], values["num_splats"]) == ("splats", "ply", metrics["num_splats"])
    values = json.loads(run(capsys, "info", scene, "--json").out)
    assert (values["kind"], values["layout"], values["photos"], values["test"]) == ("scene", "transforms", 24, 3)


def test_render_a_video_of_both_paths(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in ("orbit", "interpolate"):
        video = tmp_path / f"Vidéo {path}.mp4"
        result = run(capsys, "render", trained, "--path", path, "--frames", "9", "--out", video)
        assert (result.code, result.out) == (0, f"{video}\n"), result.err
        with av.open(str(video)) as container:
            stream = container.streams.video[0]
            pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
            assert stream.codec_context.pix_fmt == "yuv420p"
        data = video.read_bytes()
        assert data.index(b"moov") < data.index(b"mdat")
        assert len(pictures) == 9
        assert pictures[0].shape == (36, 64, 3)
        assert np.std(pictures[0]) > 5, "not an empty picture"
        assert np.abs(pictures[0].astype(int) - pictures[4]).mean() > 1, "the camera moves"


def test_render_pictures_of_given_cameras(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "frames"
    cameras = trained / "cameras.json"
    result = run(capsys, "render", trained / "splat.ply", "--path", cameras, "--out", f"{folder}/")
    assert result.code == 0, result.err
    pictures = sorted(folder.iterdir())
    assert len(pictures) == 24
    from sparse3d import formats
    from sparse3d.render import render
    from sparse3d.render.camera_file import read_camera_file

    camera = read_camera_file(cameras)[5].camera
    expected = render(formats.read(trained / "splat.ply"), camera).image.clamp(0, 1).numpy()
    with Image.open(pictures[5]) as image:
        assert np.abs(np.asarray(image) / 255.0 - expected).max() < 0.51 / 255


def test_render_a_bare_file_from_around_it(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(trained / "splat.ply", tmp_path / "a.ply")
    result = run(capsys, "render", tmp_path / "a.ply", "--frames", "2", "--size", "81x61")
    assert (result.code, result.out) == (0, f"{tmp_path / 'a-orbit.mp4'}\n"), result.err
    with av.open(str(tmp_path / "a-orbit.mp4")) as container:
        frame = next(container.decode(video=0))
    assert (frame.width, frame.height) == (80, 60), "even sides"
    assert np.std(frame.to_ndarray(format="rgb24")) > 2


def test_bench_train_and_its_curve(scene: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["bench", "train", scene, *SMALL, "--steps", "30", "--eval-every", "10"]
    result = json.loads(run(capsys, *words, "--until-psnr", "99", "--json").out)
    assert [point["step"] for point in result["curve"]] == [10, 20, 30]
    assert all(set(point) == {"s", "step", "psnr", "num_splats"} for point in result["curve"])
    assert result["s_to_psnr"] is None
    assert result["seconds"]["eval"] > 0
    reached = json.loads(run(capsys, *words, "--until-psnr", "1", "--json").out)
    assert reached["steps"] == 10
    assert reached["s_to_psnr"] == reached["curve"][0]["s"]
    limited = json.loads(run(capsys, *words, "--limit", "0", "--json").out)
    assert limited["steps"] < 30
    assert "99 dB: not reached" in run(capsys, *words, "--until-psnr", "99").out


def test_bench_step_names_every_stage(scene: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = run(capsys, "bench", "step", "--scene", scene, "--splats", "200", "--steps", "2", "--warmup", "1",
                 "--size", "32x18", "--json")  # fmt: skip
    values = json.loads(result.out)
    assert {"step_ms", "project_ms", "blend_ms", "pairs", "reference_step_ms", "ratio", "visible"} <= set(values)
    assert values["splats"] == 200
    # 200 splats have no least number of pairs: only the load of this machine decides.
    assert values["record"] is (values["load"] <= LOAD_MAX)
    assert values["visible"] > 0


def test_bench_step_of_a_run(trained: Path, scene: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["bench", "step", "--scene", scene, "--from", trained, "--steps", "1", "--size", "64x36", "--no-reference"]
    values = json.loads(run(capsys, *words, "--json").out)
    assert values["splats"] == json.loads((trained / "metrics.json").read_text())["num_splats"]
    assert "ratio" not in values


def test_bench_depth_beside_opencv(scene: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["bench", "depth", scene, "--views", "6,8,10", "--max-side", "200"]
    values = json.loads(run(capsys, *words, "--json").out)
    assert values["truth"] == "files"
    assert values["groups"] == [["images/view_06.jpg", "images/view_08.jpg", "images/view_10.jpg"]]
    every, sure, opencv = values["methods"]
    assert every["complete"] > 0.95
    assert 0.4 < sure["complete"] < every["complete"]
    for found in (every, sure):
        assert found["within_1"] > 0.3
        assert found["within_5"] > 0.4
    assert sure["median_error"] <= every["median_error"] < 0.02
    # Of the pair's pictures, not of noise: another method comes to the same depths.
    assert opencv["complete"] > 0.2
    assert opencv["median_error"] < 0.05
    table = run(capsys, *words, "--truth", "none").out.splitlines()
    assert re.split("  +", table[0]) == ["method", "complete", "median error", "within 1 %", "within 5 %", "seconds"]
    assert [row.split("  ")[0] for row in table[1:]] == [found["method"] for found in values["methods"]]


def test_doctor_finds_every_kernel_right(capsys: pytest.CaptureFixture[str]) -> None:
    result = run(capsys, "doctor", "--json")
    report = json.loads(result.out)
    assert result.code == 0, report["tests"]
    assert report["backends"]["cpu"]["found"]
    assert {test["backend"] for test in report["tests"]} == {
        "reference", *(f"cpu {level}" for level in report["backends"]["cpu"]["levels"])
    }  # fmt: skip
    assert all(test["ok"] for test in report["tests"])
    assert report["versions"]["torch"]
    text = run(capsys, "doctor").out
    assert "this version has no CUDA kernels" in text
    assert "FAILED" not in text


def test_doctor_without_cpu_kernels(repo: Path) -> None:
    done = subprocess.run(subprocess_words("doctor", "--json"), capture_output=True, text=True, cwd=repo, check=False,
                          env={**os.environ, "S3D_SIMD": "v9"})  # fmt: skip
    assert done.returncode == 4
    assert "asks for the CPU kernels 'v9'" in json.loads(done.stdout)["backends"]["cpu"]["why"]


def test_replay_says_what_is_not_sound(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    from sparse3d.kernels.records import AdamHyper, AdamState, RasterSettings, View
    from sparse3d.splats import PARAMETER_NAMES
    from sparse3d.train.splats.dump import StepInputs, write_dump

    params = {"means": torch.tensor([[0.0, 0.0, 2.0], [0.1, 0.0, 2.0]]), "quats_wxyz": torch.ones(2, 4),
              "log_scales": torch.full((2, 3), -2.0), "logit_opacities": torch.zeros(2),
              "sh0": torch.zeros(2, 1, 3), "shN": torch.zeros(2, 0, 3)}  # fmt: skip
    params["log_scales"][1, 0] = float("nan")
    path = tmp_path / "dump é.safetensors"
    write_dump(path, StepInputs(
        step=7, reason="log_scales is nan", view_name="a.jpg", params=params, adam=AdamState.zeros(params),
        hyper=AdamHyper(lr=dict.fromkeys(PARAMETER_NAMES, 1e-3)),
        view=View(32, 24, torch.eye(4), torch.tensor([20.0, 20.0, 16.0, 12.0])), background=torch.zeros(3),
        target=torch.zeros(24, 32, 3), mask=None, ssim_weight=0.2, settings=RasterSettings(32, 24, sh_degree=0),
        extent=1.0,
    ))  # fmt: skip
    result = run(capsys, "replay", path)
    assert result.code == 0, result.err
    assert "parameters before: log_scales of splat 1 is nan" in result.out
    values = json.loads(run(capsys, "replay", path, "--backend", "reference", "--json").out)
    assert (values["step"], values["backend"], values["view_name"]) == (7, "reference", "a.jpg")
    assert values["bad_before"]
