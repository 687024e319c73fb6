import subprocess
import time

import numpy as np
import pytest

from benchmark import environment
from benchmark.environment import describe
from benchmark.measure import Meter, cuda_devices, warm_up


def test_laps_add_up():
    meter = Meter()
    for _ in range(3):
        with meter.lap("predict"):
            time.sleep(0.01)
    assert len(meter.laps["predict"]) == 3
    assert all(0.009 < lap < 1 for lap in meter.laps["predict"])


def test_peak_memory_is_that_of_the_phase():
    meter = Meter()
    with meter.peaks("fit"):
        big = np.ones(40_000_000)  # 320 MB
        del big
    with meter.peaks("predict"):
        pass
    assert meter.memory["rss_fit"] - meter.memory["rss_predict"] > 250e6


def test_cpu_has_no_vram_and_no_energy():
    meter = Meter("cpu")
    with meter.peaks("fit"):
        pass
    assert [meter.memory[name] for name in ("vram_allocated", "vram_reserved", "vram_process")] == [None] * 3
    assert meter.energy == {"fit": None}


def test_environment_names_versions_and_hardware():
    found = describe("cpu")
    assert found["packages"]["numpy"] == np.__version__
    assert found["cores"] >= 1
    assert found["device"] == {"kind": "cpu"}
    assert found["cpu"]
    assert found["threads"]
    assert any("openblas" in name or "mkl" in name for name in found["pools"])
    assert all("threads " in told for told in found["pools"].values())


@pytest.mark.parametrize("state", ["clean", "changed", "new file", "no checkout"])
def test_environment_tells_commit_and_whether_the_tree_differs(tmp_path, monkeypatch, state):
    def git(*args):
        identity = ("-c", "user.name=a", "-c", "user.email=a@b.invalid", "-c", "commit.gpgsign=false")
        done = subprocess.run(
            ["git", "-C", str(tmp_path), *identity, *args], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    monkeypatch.setattr(environment, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    (tmp_path / "code.py").write_text("a = 1")
    if state != "no checkout":
        git("init")
        git("add", ".")
        git("commit", "-m", "first")
    if state in ("changed", "new file"):
        (tmp_path / ("code.py" if state == "changed" else "other.py")).write_text("a = 2")
    environment.commit.cache_clear()
    found = environment.commit()
    environment.commit.cache_clear()
    if state == "no checkout":
        assert found == {"commit": "", "dirty": None}
    else:
        assert found == {"commit": git("rev-parse", "HEAD"), "dirty": state != "clean"}


@pytest.mark.gpu
def test_cuda_laps_and_peaks():
    import torch

    if not cuda_devices():
        pytest.skip("no CUDA device")
    warm_up("cuda:0")
    meter = Meter("cuda:0")
    with meter.peaks("fit"), meter.lap("fit"):
        x = torch.ones(4096, 4096, device="cuda:0")
        (x @ x).sum()
    assert meter.laps["fit_cuda"][0] == pytest.approx(meter.laps["fit"][0], rel=0.5)
    assert meter.memory["vram_allocated"] >= 2 * 4096 * 4096 * 4
    assert meter.memory["vram_reserved"] >= meter.memory["vram_allocated"]
    assert describe("cuda:0")["device"]["name"]
