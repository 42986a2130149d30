# SPDX-License-Identifier: Apache-2.0
"""Promises of the package as a whole: its layers, what importing it costs, its public names, the repository's rules."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))
import check_repo

HEAVY = ("torch", "pycolmap", "cv2", "av", "viser", "nerfstudio", "gsplat", "open3d")


def modules_after(code: str, repo: Path) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after running `code`."""
    script = f"{code}\nimport sys\nprint('\\n'.join(sorted({{name.split('.')[0] for name in sys.modules}})))"
    out = subprocess.run([sys.executable, "-c", script], cwd=repo, capture_output=True, text=True, check=True)
    return set(out.stdout.split())


def test_import_is_light(repo: Path) -> None:
    loaded = modules_after("import sparse3d", repo)
    assert "sparse3d" in loaded
    assert not loaded & {*HEAVY, "numpy", "rich", "tyro"}


def test_help_imports_nothing_heavy(repo: Path) -> None:
    code = "from sparse3d.cli.main import main\nassert main(['--help']) == 0"
    loaded = modules_after(code, repo)
    assert not loaded & {*HEAVY, "numpy", "tyro"}


def test_core_imports_no_viewer_and_no_plugin(repo: Path) -> None:
    loaded = modules_after("import sparse3d.train, sparse3d.load.scene, sparse3d.render, sparse3d.formats", repo)
    assert "torch" in loaded
    assert not loaded & {"viser", "nerfstudio", "gsplat", "open3d", "tyro"}


def test_importing_kernels_loads_no_torch_extension(repo: Path) -> None:
    code = (
        "import sparse3d.kernels, sys\nassert not [m for m in sys.modules if m.startswith('torch.utils.cpp_extension')]"
    )
    assert "torch" in modules_after(code, repo)


def test_public_names() -> None:
    """A snapshot: a name that comes or goes is a change that users see."""
    import sparse3d

    assert sparse3d.__all__ == [
        "Camera", "Scene", "SceneConfig", "Sparse3dError", "Splats", "__version__", "load_scene", "rasterize",
    ]  # fmt: skip
    for name in sparse3d.__all__:
        assert getattr(sparse3d, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'no_such_name'"):
        _ = sparse3d.no_such_name


@pytest.mark.parametrize("package", ["load", "formats", "kernels"])
def test_subpackages_keep_their_lists(package: str) -> None:
    module = importlib.import_module(f"sparse3d.{package}")
    assert module.__all__
    for name in module.__all__:
        assert hasattr(module, name), f"sparse3d.{package} lists {name} and does not have it"


def test_repository_rules(repo: Path) -> None:
    assert check_repo.findings(repo) == []


@pytest.mark.parametrize(
    ("name", "text", "finding"),
    [
        ("a.py", "x = 1\n", "SPDX"),
        ("a.py", "# SPDX-License-Identifier: Apache-2.0\n# TO" + "DO later\n", "unfinished"),
        ("a.cpp", "// SPDX-License-Identifier: Apache-2.0\n" + "int x;\n" * 400, "401 lines"),
        ("a.md", "see /ho" + "me/somebody/file\n", "a path of one machine"),
        ("a.toml", 'path = "/wo' + 'rk/x"\n', "a path of one machine"),
        ("a.py", "# SPDX-License-Identifier: Apache-2.0\nimport pick" + "le\n", "run code"),
        ("a.py", "# SPDX-License-Identifier: Apache-2.0\nnp.load(f, allow_pick" + "le=True)\n", "run code"),
        ("a.py", "# SPDX-License-Identifier: Apache-2.0\nx = torch.lo" + "ad(f)\n", "run code"),
        ("a.bin", "x" * 1_500_001, "1500001 bytes"),
    ],
)
def test_repository_rules_find_what_they_are_for(tmp_path: Path, name: str, text: str, finding: str) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    found = list(check_repo.findings_in(path, name))
    assert len(found) == 1
    assert finding in found[0]


def test_repository_rules_pass_a_good_file(tmp_path: Path) -> None:
    path = tmp_path / "good.py"
    path.write_text('# SPDX-License-Identifier: Apache-2.0\nroot = "a/work/b"\n', encoding="utf-8")
    assert list(check_repo.findings_in(path, "good.py")) == []


def test_every_module_has_a_layer(repo: Path) -> None:
    """`scripts/do lint` holds the order of the layers; this needs no tool and names a newcomer sooner."""
    settings = (repo / "pyproject.toml").read_text(encoding="utf-8")
    listed = set(re.findall(r"[\w]+", settings.split("layers = [")[1].split("]")[0]))
    names = {
        p.stem for p in (repo / "sparse3d").iterdir() if p.suffix in ("", ".py") and not p.name.startswith("__pyc")
    }
    assert names - {"__init__"} <= listed | {"configs", "scenes", "viewer"}


def test_readme_example_runs(repo: Path) -> None:
    """The Python of README.md, as it stands there."""
    blocks = re.findall(r"```python\n(.*?)```", (repo / "README.md").read_text(encoding="utf-8"), re.S)
    assert blocks
    out = subprocess.run(
        [sys.executable, "-c", "\n".join(blocks)], cwd=repo, capture_output=True, text=True, check=True
    )
    assert out.stdout.strip() == "transforms 21 to train on, 3 held out"
