"""The top-level folders share names with other people's packages."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_nothing_is_installed_under_our_names():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["tool"]["setuptools"]["packages"] == []
    names = {requirement.split(">")[0].split("[")[0] for requirement in project["project"]["dependencies"]}
    assert "datasets" not in names


def test_another_datasets_package_stops_the_start_with_one_line(tmp_path):
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets/__init__.py").write_text("")
    shutil.copytree(ROOT / "benchmark", tmp_path / "elsewhere/benchmark")
    done = subprocess.run(
        [sys.executable, "-c", "import benchmark"],
        cwd=tmp_path / "elsewhere",
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: '")
    assert len(done.stderr.splitlines()) == 1
