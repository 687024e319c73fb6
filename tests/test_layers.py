"""Arrows point one way."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("benchmark", "baselines", "models", "datasets")
FILES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
HEAVY = {
    "torch",
    "sklearn",
    "scikit_posthocs",
    "statsmodels",
    "lightgbm",
    "optuna",
    "mlflow",
    "satpy",
    "terratorch",
    "seaborn",
    "matplotlib",
    "xarray",
    "zarr",
    "rasterio",
    "pandas",
    "scipy",
    "skops",
    "cv2",
    "dask",
    "lightning",
    "eumdac",
    "netCDF4",
    "numba",
    "pyresample",
    "shapely",
    "distributed",
}
CONTRACTS = {"benchmark.api"}
DATA_CONTRACTS = CONTRACTS | {"benchmark.granule", "benchmark.patchset", "benchmark.sources", "benchmark.splits"}
PLANNING = {"suites", "suite_cost", "_joined"}  # of studies: what comes before a run
MAKING = {"runner", "cell", "catalog", "tune", "fitting", "data"}  # what runs methods and opens pixels


def name_of(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def imports(path, top_only=False):
    """Yield the full names of modules a file imports."""
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_only else list(ast.walk(tree))
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path} imports relatively"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def ours(path, **options):
    modules = {name_of(p) for p in FILES} | {name_of(p.parent) for p in FILES}
    return {name for name in imports(path, **options) if name in modules and name not in FOLDERS}


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_file_is_small(path):
    assert len(path.read_text().splitlines()) <= 300


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_point_one_way(path):
    folder, stem = path.relative_to(ROOT).parts[0], path.stem
    found = ours(path)
    if path in (ROOT / "benchmark/api.py", ROOT / "benchmark/granule.py", ROOT / "benchmark/sources.py"):
        assert not found
    elif folder in ("baselines", "models"):
        assert all(name in CONTRACTS or name.startswith(f"{folder}._") for name in found), found
    elif folder == "datasets":
        own = (f"{folder}._", f"{folder}.simulator")
        assert all(name in DATA_CONTRACTS or name.startswith(own) for name in found), found
    else:
        assert not any(name.startswith(("baselines", "models", "datasets")) for name in found), found
        inside = path.relative_to(ROOT).parts[1]
        if inside in ("views", "studies") or stem in ("track", "sync", "optimism"):
            allowed = {"benchmark.data", "benchmark.catalog"} if stem in PLANNING else set()
            assert not (found & {f"benchmark.{name}" for name in MAKING}) - allowed, found
        if stem in ("cell", "fitting", "tune", "features", "measure"):
            assert not found & {"benchmark.runner", "benchmark.planner", "benchmark.cli", "benchmark.track"}
            assert not any(name.startswith(("benchmark.views", "benchmark.studies")) for name in found), found
        if inside == "views":
            assert not any(name.startswith(("benchmark.studies", "benchmark.cluster")) for name in found), found


@pytest.mark.parametrize(
    "path", [p for p in FILES if not p.name.startswith("_") or p.name == "__init__.py"], ids=name_of
)
def test_public_modules_import_nothing_heavy(path):
    top = {name.split(".")[0] for name in imports(path, top_only=True)}
    assert not top & HEAVY


@pytest.mark.parametrize("package", ["mlflow", "optuna"])
def test_one_module_speaks_to(package):
    users = {name_of(p) for p in FILES if any(name.split(".")[0] == package for name in imports(p))}
    assert users == {{"mlflow": "benchmark.track", "optuna": "benchmark.tune"}[package]}


def test_test_pixels_are_opened_in_one_module():
    """`open_part(..., "test")` is written in the cell alone; fitting and tuning name train and val."""
    users = set()
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            called = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "open_part"
            if called and not any(isinstance(arg, ast.Constant) and arg.value in ("train", "val") for arg in node.args):
                users.add(name_of(path))
    assert users <= {"benchmark.cell", "benchmark.fitting"}
    fitting = (ROOT / "benchmark/fitting.py").read_text()
    assert '"test"' not in fitting
    assert '("train", "val")' in fitting


def test_no_module_is_called_like_a_package_it_uses():
    for path in FILES:
        assert path.stem not in {name.split(".")[0] for name in imports(path)}, path


def test_starting_loads_nothing_heavy():
    """`--help` must answer in under a second, so nothing slow may come with the command line."""
    code = "import sys; import benchmark.cli; print(sorted(set(sys.modules) & set(sys.argv[1].split(','))))"
    done = subprocess.run(
        [sys.executable, "-c", code, ",".join(HEAVY)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_catalogue_loads_nothing_heavy():
    code = (
        "import sys; from benchmark import catalog; catalog.rows(); catalog.sources();"
        "print(sorted(set(sys.modules) & set(sys.argv[1].split(','))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, ",".join(HEAVY)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
