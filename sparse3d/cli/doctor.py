# SPDX-License-Identifier: Apache-2.0
"""`sparse3d doctor`: the first thing to ask for in a bug report."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import math
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sparse3d.cli.parse import parse
from sparse3d.cli.table import aligned
from sparse3d.errors import BackendError

_PACKAGES = (
    "torch", "numpy", "pycolmap", "opencv-python-headless", "pillow", "pi-heif", "av", "safetensors", "tyro", "rich",
    "viser", "nerfstudio", "gsplat", "onnxruntime",
)  # fmt: skip
_OPTIONAL = ("viser", "nerfstudio", "gsplat", "onnxruntime")
_LEVELS = ("v4", "v3", "base", "neon")


@dataclass(frozen=True)
class Args:
    """Print versions, what this machine can run and why not, and test every kernel against the reference.

    Exit code 0 where the CPU kernels are there and right, 4 where they are missing, 1 where a test fails.
    """

    json: bool = False
    """One JSON object instead of a table."""


def main(words: Sequence[str]) -> int:
    args = parse(Args, words, prog="doctor")
    report = examine()
    if args.json:
        print(json.dumps(report, allow_nan=False))
    else:
        _print(report)
    if not report["backends"]["cpu"]["found"]:
        return BackendError.exit_code
    return 0 if all(test["ok"] for test in report["tests"]) else 1


def examine() -> dict[str, Any]:
    """Everything as plain values."""
    import torch

    backends = _backends()
    return {
        "versions": _versions(),
        "machine": {
            "system": platform.platform(),
            "processor": _processor(),
            "cores": _cores(),
            "memory_gb": _memory_gb(),
            "torch_capability": torch.backends.cpu.get_cpu_capability(),
            "S3D_SIMD": os.environ.get("S3D_SIMD"),
        },
        "backends": backends,
        "tests": _tests(backends["cpu"].get("levels", [])),
    }


def _versions() -> dict[str, str | None]:
    from sparse3d.cli.main import version

    out: dict[str, str | None] = {"sparse3d": version(), "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            out[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            out[name] = None
    return out


def _backends() -> dict[str, dict[str, Any]]:
    """By name: found, and what to know of it or why it is missing."""
    import torch

    from sparse3d.kernels import cpu

    out: dict[str, dict[str, Any]] = {"reference": {"found": True, "why": "plain torch, slow and exact"}}
    try:
        level = cpu.level()
        levels = cpu.available_levels()
        built = [name for name in _LEVELS if importlib.util.find_spec(f"sparse3d._cpu_{name}")]
        passed = [name for name in built if name not in levels]
        why = f"SIMD level {level} in use; this machine runs {', '.join(levels)}"
        why += f"; built, but not for this processor: {', '.join(passed)}" if passed else ""
        out["cpu"] = {"found": True, "why": why, "level": level, "levels": levels}
    except BackendError as error:
        out["cpu"] = {"found": False, "why": str(error)}
    card = f"torch sees {torch.cuda.get_device_name(0)}" if torch.cuda.is_available() else "torch sees no CUDA device"
    out["cuda"] = {"found": False, "why": f"{card}; this version has no CUDA kernels"}
    try:
        from sparse3d.cli.video import require_encoder

        require_encoder()
        out["video (libx264)"] = {"found": True, "why": "H.264 in MP4"}
    except (BackendError, ImportError) as error:
        out["video (libx264)"] = {"found": False, "why": str(error)}
    return out


def _tests(levels: Sequence[str]) -> list[dict[str, Any]]:
    from sparse3d.cli import selftest

    rows = [("reference", selftest.reference_runs())]
    for level in levels:
        rows += [(f"cpu {level}", outcome) for outcome in selftest.run_all(level)]
    return [
        {
            "backend": backend,
            "test": outcome.name,
            "ok": not outcome.problem,
            "error": outcome.error if math.isfinite(outcome.error) else None,
            "problem": outcome.problem,
        }
        for backend, outcome in rows
    ]


def _print(report: dict[str, Any]) -> None:
    print("versions")
    missing = "not installed"
    rows = [
        (f"  {name}", value or (f"{missing} (optional)" if name in _OPTIONAL else missing))
        for name, value in report["versions"].items()
    ]
    print(aligned(rows))
    print("machine")
    print(aligned([(f"  {key.replace('_', ' ')}", _text(value)) for key, value in report["machine"].items()]))
    print("back ends")
    found = [(f"  {name}", "yes" if b["found"] else "no", b["why"]) for name, b in report["backends"].items()]
    print(aligned(found))
    print("tests against the reference")
    print(aligned([(f"  {t['backend']}", t["test"], _verdict(t)) for t in report["tests"]]))


def _verdict(test: dict[str, Any]) -> str:
    if not test["ok"]:
        return f"FAILED: {test['problem']}"
    return f"ok ({test['error']:.1e} off)" if test["error"] else "ok"


def _text(value: Any) -> str:
    return "not set" if value is None else f"{value:.1f}" if isinstance(value, float) else str(value)


def _processor() -> str:
    """The processor's name; Linux keeps it in a file, others in `platform`."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith(("model name", "Model"))]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def _cores() -> int:
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory_gb() -> float | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    except (AttributeError, OSError, ValueError):
        return None
