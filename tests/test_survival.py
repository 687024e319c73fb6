"""Nothing is lost, doubled or half-written, whoever is killed while a plan runs on a cluster."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.slow
def test_killed_workers_runs_and_clients_change_no_number(store, tmp_path):
    """Few kills over few runs; `benchmarks/survival.py` does the same with many."""
    root = tmp_path / "checkout"
    for folder in ("benchmark", "baselines", "models", "datasets", "benchmarks"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    command = [
        sys.executable,
        "-m",
        "benchmarks.survival",
        "--kills",
        "4",
        "--data",
        str(store),
        "--seeds",
        "2",
        "--pause",
        "1",
    ]
    command += ["--rows", "majority", "threshold-fitted", "--out", str(tmp_path / "out")]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["kills"] == 4
