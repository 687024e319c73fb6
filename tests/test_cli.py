"""What a user sees: quick help, one sentence for a fault, exit status 2, and nothing lost."""

import resource
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner
from warm import benchmark

from benchmark import cli, cli_run, cli_views

ROOT = Path(__file__).resolve().parent.parent
BANDS = ("BLUE", "GREEN", "RED", "NIR", "SWIR_1", "SWIR_2")


def bare(*args):
    command = [sys.executable, "-m", "benchmark", *map(str, args)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def write_tiff(path, values, descriptions=None):
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    count, height, width = values.shape
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", "GTiff", width, height, count, dtype=values.dtype) as file:
            file.write(values)
            file.descriptions = descriptions or file.descriptions


def write_folder(data):
    """Write six patches of six scenes in the layout of the study."""
    data.mkdir()
    rng = np.random.default_rng(0)
    for scene in range(6):
        mask = (rng.random((1, 32, 32)) > 0.5).astype(np.uint8)
        toa = (np.where(mask, 0.6, 0.1) + rng.normal(0, 0.02, (6, 32, 32))).astype(np.float32)
        write_tiff(data / f"Urban_{scene:02}_0001_reflectance.tif", toa, BANDS)
        write_tiff(data / f"Urban_{scene:02}_0001_binary.tif", mask)
    return data


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "patches")


@pytest.fixture(scope="module")
def ran(tmp_path_factory, tracking_store):
    """A patch folder, and beside it `out`, into which a row was run."""
    place = tmp_path_factory.mktemp("ran")
    folder = write_folder(place / "patches")
    (place / "out").mkdir()
    shutil.copy(tracking_store, place / "out")
    done = run(folder, place)
    assert done.returncode == 0, done.stderr
    return folder, place


def run(folder, tmp_path, *more):
    return benchmark("run", "majority", "--data", folder, "--profile", "smoke", "--out", tmp_path / "out", *more)


def processor_seconds():
    """Return what ended children have used; other work on the machine adds little to it."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.parametrize("args", [("--help",), ("run", "--help"), ("data", "--help")])
def test_help_answers_in_under_a_second(args):
    times = []
    for _ in range(3):
        before = processor_seconds()
        assert bare(*args).returncode == 0
        times.append(processor_seconds() - before)
    assert min(times) < 0.8


def test_patch_folder_runs(ran):
    _, place = ran
    assert (place / "out/leaderboard.csv").exists()


def test_options_of_run_reach_the_plan_and_controls_are_named(folder, tmp_path, monkeypatch):
    plans = []
    monkeypatch.setattr(cli_run, "_run_cells", lambda given, out, fresh, scheduler: plans.extend(given) or 0)
    monkeypatch.setattr(cli_views, "views", lambda plans, out, uri: None)
    suite, out = tmp_path / "tiny.toml", tmp_path / "out"
    suite.write_text('title = "t"\nwhy = "w"\nrows = ["majority", "prithvi-tiny-pretrained-frozen"]\nprofile = "smoke"')
    options = [
        "--suite",
        suite,
        "--data",
        folder,
        "--patches",
        "2,1,1",
        "--epochs",
        "3",
        "--bands",
        "study",
        "--out",
        out,
    ]
    done = CliRunner().invoke(cli.app, ["run", *map(str, options)])
    assert done.exit_code == 0, done.output
    assert "patches-tiny-study-e3: train 2 of 4, val 1 of 1, test 1 of 1" in done.output
    assert "run beside the rows they are controls of: prithvi-tiny-random-frozen" in done.output
    (plan,) = plans
    assert {cell.row for cell in plan.cells} == {
        "majority", "prithvi-tiny-pretrained-frozen", "prithvi-tiny-random-frozen"
    }  # fmt: skip
    assert {(cell.budget.epochs, cell.bands[0]) for cell in plan.cells} == {(3, "RED=BLUE")}


def test_list_shows_everything_or_single_rows_in_full():
    everything, some = bare("list").stdout, benchmark("list", "prithvi-300-*", "lightgbm").stdout
    for word in ("majority", "prithvi-300-tl-START-MODE", "simulated", "quick", "study-as-published", "study-readme"):
        assert word in everything
    assert "prithvi-300-tl-pretrained-frozen" not in everything
    for word in ("prithvi-300-tl-pretrained-frozen", "Prithvi_EO_V2_300M_TL.pt", "exp_31", "lightgbm"):
        assert word in some
    assert "quick" not in some


def label_seven(folder):
    mask = np.zeros((1, 32, 32), np.uint8)
    mask[0, 3, 3] = 7
    write_tiff(folder / "Urban_02_0001_binary.tif", mask)


def nan_only(folder):
    write_tiff(folder / "Urban_02_0001_reflectance.tif", np.full((6, 32, 32), np.nan, np.float32), BANDS)


def one_band_less(folder):
    write_tiff(folder / "Urban_02_0001_reflectance.tif", np.full((5, 32, 32), 0.1, np.float32), BANDS[:5])


def corrupt(folder):
    file = folder / "Urban_02_0001_reflectance.tif"
    file.write_bytes(file.read_bytes()[:300])


def mask_missing(folder):
    (folder / "Urban_02_0001_binary.tif").unlink()


def absent_patch(folder):
    (folder / "splits").mkdir()
    for part, ids in {"train": "Urban_00_0001\nUrban_99_0001", "val": "Urban_01_0001", "test": "Urban_02_0001"}.items():
        (folder / "splits" / f"{part}.txt").write_text(ids)


FAULTS = {
    label_seven: ("Urban_02_0001", "7"),
    nan_only: ("Urban_02_0001", "NaN"),
    one_band_less: ("Urban_02_0001", "5"),
    corrupt: ("Urban_02_0001_reflectance.tif",),
    mask_missing: ("Urban_02_0001", "binary"),
    absent_patch: ("Urban_99_0001",),
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_faulty_data_is_one_sentence_and_exit_status_2(folder, tmp_path, fault):
    fault(folder)
    done = run(folder, tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stdout + done.stderr
    assert done.stderr.startswith("error: ")
    for word in FAULTS[fault]:
        assert word in done.stderr.replace("\n", " ")
    assert not list((tmp_path / "out").glob("**/*.zarr"))


@pytest.mark.parametrize(
    "args",
    [
        ("run", "unnet"),
        ("run", "all", "--data", "/nowhere"),
        ("run", "all", "--profile", "huge"),
        ("run", "all", "--device", "cuda:99"),
        ("run", "all", "--seeds", "0"),
        ("run",),
        ("run", "--suite", "nowhere.toml"),
        ("run", "all", "--patches", "1,2"),
        ("run", "all", "--bands", "nonsense", "--profile", "smoke"),
        ("list", "unnet"),
        ("report", "--out", "/nowhere"),
        ("ui", "--out", "/nowhere"),
        ("data", "show", "/nowhere"),
        ("data", "make", "nothing"),
    ],
    ids=" ".join,
)
def test_faulty_arguments_are_refused(args, tmp_path):
    extra = () if "--out" in args or args[0] in ("data", "list") else ("--out", tmp_path)
    done = benchmark(*args, *extra)
    assert done.returncode == 2
    assert "Traceback" not in done.stdout + done.stderr


def test_a_fault_loses_nothing_already_computed(ran):
    folder, place = ran
    before = {path: path.read_bytes() for path in (place / "out").glob("**/record.json")}
    table = (place / "out/leaderboard.csv").read_text()
    label_seven(folder)
    assert run(folder, place).returncode == 2
    assert before
    assert {path: path.read_bytes() for path in before} == before
    assert (place / "out/leaderboard.csv").read_text() == table


def test_a_storage_whose_password_is_not_escaped_is_refused_before_anything_is_kept(tmp_path):
    done = run(tmp_path, tmp_path, "--storage", "postgresql://neph:secret?1@127.0.0.1:1/optuna")
    assert done.returncode == 2
    assert "%3F" in done.stderr
    assert "secret" not in done.stdout + done.stderr
    assert not (tmp_path / "out").exists()
