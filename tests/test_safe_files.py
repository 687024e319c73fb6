"""No file that came from others may run code, lead out of its folder or fill the disk."""

import ast
import io
import json
import os
import pickle
import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from benchmark import data, evidence, patchset
from benchmark.api import UserError
from benchmark.profiles import PROFILES

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("benchmark", "baselines", "models", "datasets", "benchmarks")
FILES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
# Modules that run what a file says.
UNSAFE = {"pickle", "_pickle", "cPickle", "joblib", "dill", "cloudpickle", "shelve", "marshal", "numcodecs.pickles"}
# Functions that do, or unpack files under names of their own, whatever they belong to; of builtins only eval and exec.
NAMES = {"read_pickle", "to_pickle", "unsafe_load", "full_load", "unpack_archive", "add_safe_globals", "safe_globals"}
METHODS = {"extractall", "extract"}
# Values of arguments that switch a guard off.
SWITCHES = {"allow_pickle": True, "trust_remote_code": True, "trusted": True, "weights_only": False}


def faults(source):
    """Yield (line, what) of everything in a source that may run code from a file or serve beyond this machine."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names]
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            yield from ((node.lineno, f"imports {name}") for name in names if {name, name.split(".")[0]} & UNSAFE)
            yield from ((node.lineno, f"imports {name}") for name in names if name.split(".")[-1] in NAMES)
        elif isinstance(node, ast.Call):
            yield from ((node.lineno, what) for what in called(node))
        elif isinstance(node, ast.Constant) and node.value in ("0.0.0.0", "::"):
            yield node.lineno, "listens beyond this machine"


def called(node):
    """Yield what is unsafe in a call."""
    options = {word.arg: word.value.value for word in node.keywords if isinstance(word.value, ast.Constant)}
    yield from (f"{name}={value}" for name, value in SWITCHES.items() if name in options and options[name] is value)
    if isinstance(node.func, ast.Name) and node.func.id in {"eval", "exec", "__import__"} | NAMES:
        yield node.func.id
    elif isinstance(node.func, ast.Attribute):
        name, owner = node.func.attr, getattr(node.func.value, "id", "")
        if name in NAMES or (name in METHODS and options.get("filter") != "data"):
            yield name
        if (owner, name) == ("torch", "load") and options.get("weights_only") is not True:
            yield "torch.load without weights_only=True"
        if (owner, name) == ("yaml", "load"):
            yield "yaml.load"


@pytest.mark.parametrize("path", FILES, ids=lambda path: ".".join(path.relative_to(ROOT).with_suffix("").parts))
def test_sources_run_nothing_that_a_file_says(path):
    assert list(faults(path.read_text())) == []


# What the scan must find, as text that is parsed and never run.
@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "import joblib.numpy_pickle",
        "from cloudpickle import loads",
        "from pandas import read_pickle",
        "from shutil import unpack_archive",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
        "skops.io.load(path, trusted=True)",
        "pd.read_pickle(path)",
        "yaml.load(stream)",
        "archive.extractall(folder)",
        "archive.extractall(folder, filter='fully_trusted')",
        "archive.extract(name)",
        "shutil.unpack_archive(path)",
        "eval(text)",
        "exec(text)",
        "serve(host='0.0.0.0')",
    ],
)
def test_each_unsafe_way_is_seen(source):
    assert list(faults(source))


@pytest.mark.parametrize(
    "source",
    [
        "torch.load(path, weights_only=True)",
        "np.load(path)",
        "network.eval()",
        "archive.extractall(folder, filter='data')",
        "serve(host='127.0.0.1')",
    ],
)
def test_safe_ways_are_left_alone(source):
    assert not list(faults(source))


class Planted:
    """What leaves a file where it is unpickled."""

    def __init__(self, place):
        self.place = place

    def __reduce__(self):
        return os.mkdir, (str(self.place),)


@pytest.fixture
def planted(tmp_path):
    """An object that leaves a folder when it is unpickled; at the end none may be there."""
    thing = Planted(tmp_path / "ran")  # the danger is real, or the tests below would prove nothing
    pickle.loads(pickle.dumps(thing))
    assert thing.place.exists()
    thing.place.rmdir()
    yield thing
    assert not thing.place.exists()


def test_a_checkpoint_of_an_unfinished_fit_that_holds_more_than_tensors_is_not_read(tmp_path, planted, capsys):
    import torch

    from models import _loop_checkpoint

    for content in ({"key": "k", "more": planted}, planted):
        torch.save(content, tmp_path / _loop_checkpoint.FILE)
        assert _loop_checkpoint.read(tmp_path, "k") is None
        assert "cannot be read and is ignored" in capsys.readouterr().out
    (tmp_path / _loop_checkpoint.FILE).write_bytes(pickle.dumps(planted))
    assert _loop_checkpoint.read(tmp_path, "k") is None


def test_strata_that_hold_objects_are_not_read(tmp_path, planted):
    columns = {"version": np.array(planted, object), "codes x": np.zeros(2)}
    with (tmp_path / evidence.STRATA).open("wb") as stream:
        np.savez(stream, **columns)
    with pytest.raises(ValueError, match="allow_pickle=False"):
        evidence.read_strata(tmp_path)


@pytest.fixture
def foreign(store, tmp_path):
    """A function that gives a copy of a sound patch set with one array in other codecs."""

    def changed(where, planted, **codecs):
        copy = tmp_path / "foreign.zarr"
        shutil.copytree(store, copy)
        whole = json.loads((copy / ".zmetadata").read_text())
        array = whole["metadata"]["sha256/.zarray"] | codecs
        if "everywhere" in where:
            whole["metadata"]["sha256/.zarray"] = array
            (copy / ".zmetadata").write_text(json.dumps(whole))
        (copy / "sha256" / ".zarray").write_text(json.dumps(array))
        for chunk in (copy / "sha256").glob("[0-9]*"):
            chunk.write_bytes(pickle.dumps(planted))
        return copy

    return changed


PICKLE = {"id": "pickle"}


@pytest.mark.parametrize("where", ["everywhere", "in the array alone"])
@pytest.mark.parametrize(
    "codecs",
    [
        {"compressor": PICKLE},
        {"filters": [PICKLE]},
        {"dtype": "|O", "filters": [{"id": "vlen-utf8"}, PICKLE]},
        {"dtype": "|O", "filters": [{"id": "vlen-utf8"}], "compressor": PICKLE},
    ],
)
def test_a_patch_set_in_a_codec_that_runs_code_is_refused(foreign, planted, where, codecs, monkeypatch):
    monkeypatch.setattr("numcodecs.pickles.ALLOW_UNSAFE_PICKLE_DECODE", True, raising=False)  # as older versions do
    path = foreign(where, planted, **codecs)
    for read in (patchset.open_store, patchset.table, patchset.arrays):
        with pytest.raises(UserError, match="is in codec 'pickle', which may run code; it is not read"):
            read(path)


@pytest.mark.parametrize("damage", ["{", "[]", '{"metadata": {"toa/.zarray": {}}}', '{"metadata": {"toa/.zarray": 3}}'])
def test_damaged_metadata_of_a_patch_set_are_a_sentence(foreign, planted, damage):
    path = foreign("nowhere", planted)
    (path / ".zmetadata").write_text(damage)
    with pytest.raises(UserError, match="its metadata are damaged"):
        patchset.open_store(path)


def test_an_estimator_of_strange_types_is_refused(tmp_path, planted):
    import skops.io
    from sklearn.preprocessing import FunctionTransformer

    from benchmark import artifacts

    skops.io.dump(FunctionTransformer(os.mkdir), tmp_path / "model_.skops")
    with pytest.raises(UserError, match=r"types that are not trusted: .*mkdir"):
        artifacts._load_estimator(tmp_path / "model_.skops")
    (tmp_path / "model_.skops").write_bytes(pickle.dumps(planted))
    with pytest.raises(zipfile.BadZipFile):
        artifacts._load_estimator(tmp_path / "model_.skops")


def test_a_geotiff_that_leads_to_another_file_is_refused(tmp_path):
    import rasterio

    from datasets import _patch_tiffs

    (tmp_path / "private").mkdir()
    other = tmp_path / "private" / "other.tif"
    with rasterio.open(other, "w", "GTiff", 4, 4, 1, dtype="uint8") as file:
        file.write(np.ones((1, 4, 4), np.uint8))
    assert _patch_tiffs.read_raster(other).values.all()
    (tmp_path / "a_binary.tif").write_text(
        '<VRTDataset rasterXSize="4" rasterYSize="4"><VRTRasterBand dataType="Byte" band="1"><SimpleSource>'
        f"<SourceFilename>{other}</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    with pytest.raises(UserError, match="cannot be read as a GeoTIFF"):
        _patch_tiffs.read_raster(tmp_path / "a_binary.tif")


def ask(path, tmp_path):
    """Ask for a data set as `run --data` does."""
    return data.prepare(str(path), PROFILES["smoke"], tmp_path / "out", lambda done, total: None)


@pytest.mark.parametrize("name", ["../up_reflectance.tif", "/etc/x.tif"])
def test_a_zip_that_leads_out_is_refused(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "patches.zip", "w") as file:
        file.writestr("20230601/a_reflectance.tif", b"II")
        file.writestr(name, b"II")
    with pytest.raises(UserError, match="may lead out"):
        ask(tmp_path / "patches.zip", tmp_path)
    assert not list(tmp_path.rglob("*.tif"))


def test_a_zip_that_grows_beyond_reason_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "patches.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("20230601/a_reflectance.tif", b"II")
        with file.open("20230601/b_reflectance.tif", "w", force_zip64=True) as entry:
            for _ in range(300):
                entry.write(bytes(2**20))
    assert (tmp_path / "patches.zip").stat().st_size < 2**20
    with pytest.raises(UserError, match="takes 315 MB; it is not read"):
        ask(tmp_path / "patches.zip", tmp_path)


def test_a_tar_is_no_data_set(tmp_path):
    with tarfile.open(tmp_path / "patches.tar", "w") as file:
        entry = tarfile.TarInfo("../up_binary.tif")
        entry.size = 2
        file.addfile(entry, io.BytesIO(b"II"))
    with pytest.raises(UserError, match="neither a Zarr patch set nor a folder"):
        ask(tmp_path / "patches.tar", tmp_path)
