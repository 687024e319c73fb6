"""What CONTRIBUTING and README tell a reader to do works."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent


def blocks(file):
    """Yield (path, code) of the Python blocks that follow a line naming a file."""
    text = (ROOT / file).read_text()
    return dict(re.findall(r"^`([\w/]+\.py)`:\n\n```python\n(.*?)```", text, flags=re.M | re.S))


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    root = tmp_path_factory.mktemp("contributed")
    for folder in ("benchmark", "baselines", "models", "datasets"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for path, code in blocks("CONTRIBUTING.md").items():
        (root / path).write_text(code)
    return root


def benchmark(root, *args):
    command = [sys.executable, "-m", "benchmark", *map(str, args)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_examples_add_a_method_and_a_data_set_in_one_file_each(checkout, tmp_path):
    rng = np.random.default_rng(0)
    for scene in range(9):
        mask = (rng.random((32, 32)) > 0.5).astype(np.uint8)
        toa = np.where(mask, 0.6, 0.1) + rng.normal(0, 0.02, (4, 32, 32))
        np.savez(tmp_path / f"scene{scene}.npz", toa=toa.astype(np.float32), mask=mask)
    out = tmp_path / "out"
    benchmark(checkout, "run", "bright-pixels", "--data", tmp_path, "--profile", "smoke", "--out", out)
    line = (out / "leaderboard.csv").read_text().splitlines()[1].split(",")
    assert line[:3] == ["bright-pixels", "threshold", "ok"]
    assert float(line[6]) > 0.9
    assert "bright-pixels" in benchmark(checkout, "list")


def test_examples_are_clean(checkout):
    files = [str(checkout / path) for path in blocks("CONTRIBUTING.md")]
    assert len(files) == 2
    ruff = [sys.executable, "-m", "ruff", "check", "--config", str(ROOT / "pyproject.toml"), *files]
    done = subprocess.run(ruff, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_commands_of_the_readme_are_known():
    import click
    import typer

    from benchmark.cli import app

    command = typer.main.get_command(app)
    found = re.findall(r"python -m benchmark ([\w-]+)", (ROOT / "README.md").read_text())
    assert found
    for verb in found:
        assert command.get_command(click.Context(command), verb) is not None, verb
