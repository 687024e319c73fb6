"""Pretraining: what it reads, what it learns, what it leaves, and that an interruption changes nothing."""

import ast
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from patch_factory import bands as bands_of
from prithvi_factory import PLAIN, narrow_backbones
from safetensors.torch import load_file
from typer.testing import CliRunner

from benchmark import pretrain, splits
from benchmark.api import HLS_ROLES, Budget, Context, NotRun, UserError
from benchmark.cli import app
from benchmark.patchset import PatchWriter, arrays, images
from datasets import _hls_scene, _hls_tables, simulated_hls
from models import _encoders, _mae
from models.pretraining import MaskedAutoencoder

SIZE, TRAIN = 32, 16


@pytest.fixture(autouse=True)
def narrow():
    """Small networks on one thread: two that wait for a core which others use make it thirty times slower."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with narrow_backbones():
        yield
    torch.set_num_threads(threads)


def make_store(path, others=lambda toa: toa, bands=simulated_hls.BANDS, size=SIZE, scenes=TRAIN):
    """A patch set of 30 m land: `scenes` scenes to train on; those to choose and to test by are changed by `others`."""
    channels = [[band[1] for band in _hls_tables.BANDS].index(band.role) for band in bands]
    parts = {"train": [], "val": [], "test": []}
    with PatchWriter(path, bands, simulated_hls.ATTRIBUTES) as writer:
        for number in range(TRAIN + 2):
            part = "train" if number < TRAIN else ("val", "test")[number - TRAIN]
            made = _hls_scene.simulate(0, 0, number, size)
            toa = made.toa[channels] if part == "train" else others(made.toa[channels])
            scene = f"{part}{number % scenes if part == 'train' else number}"
            writer.append([f"p{number}"], scene, toa[None], made.mask[None], {}, made.time, made.lat, made.lon)
            parts[part].append(f"p{number}")
    splits.write(splits.from_parts(path, parts), splits.split_path(path))
    return path


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("hls") / "land.zarr")


def asked(store, out, **changes):
    few = {"patches": None, "size": None, "epochs": 2, "batch": 4, "lr": 3e-3, "mask_ratio": 0.75, "seed": 0}
    return pretrain.Asked(**{"backbone": PLAIN, "data": str(store), **few, "device": "cpu", "out": out, **changes})


def work(store, out, **changes):
    return pretrain.pretrain(asked(store, out, **changes), lambda done, total: None, lambda epoch, **losses: None)


def fitted(store, epochs=3, training=None, report=lambda epoch, **losses: None, **fields):
    """A fit on the train part of a store, without the harness."""
    held = images(arrays(store), np.arange(TRAIN), range(len(HLS_ROLES)))
    method = MaskedAutoencoder(PLAIN, lr=3e-3, **fields)
    ctx = Context(seed=1, budget=Budget(epochs, 4), report=report, training=training)
    method.fit(held.take(slice(0, 12)), held.take(slice(12, 16)), ctx)
    return method


def same(one, other):
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def test_loss_falls_on_seen_and_on_held_out_scenes(store):
    method = fitted(store, epochs=18)
    losses = {name: [entry[name] for entry in method.history_] for name in ("train_loss", "val_loss")}
    assert [entry["epoch"] for entry in method.history_] == list(range(18))
    assert np.mean(losses["train_loss"][-3:]) < 0.75 * losses["train_loss"][0]
    assert losses["val_loss"][-1] < 0.7 * losses["val_loss"][0]


@pytest.mark.parametrize("coordinates", [False, True])
def test_the_checkpoint_loads_by_the_ordinary_path(store, tmp_path, coordinates):
    done = work(store, tmp_path)
    assert done.path == tmp_path / "pretrained" / f"{PLAIN}-simpretrained.safetensors"
    encoder = _encoders.build(PLAIN, bands_of(HLS_ROLES), coordinates=coordinates, seed=5, weights=done.path)
    stored = load_file(done.path)
    found = encoder.vit.state_dict()
    assert {f"encoder.{name}" for name in found} <= set(stored)
    assert any("temporal_embed" in name for name in found) == coordinates
    for name, value in found.items():
        # the file's positions are in double precision before they are rounded, a backbone's in single
        assert torch.allclose(value, stored[f"encoder.{name}"], atol=1e-6 if name == "pos_embed" else 0, rtol=0), name
    fresh = _encoders.build(PLAIN, bands_of(HLS_ROLES), coordinates=coordinates, seed=0, weights=None).vit.state_dict()
    assert not torch.equal(found["patch_embed.proj.weight"], fresh["patch_embed.proj.weight"])


def poison(toa):
    """Nothing but NaN and one column turned from dark to bright."""
    return np.where(np.arange(toa.shape[-1]) == 0, np.clip(1 - toa, 0, 1), np.float32(np.nan))


def test_only_the_train_part_is_read(store, tmp_path):
    poisoned = make_store(tmp_path / "poisoned.zarr", others=poison)
    first, second = (work(data, tmp_path / data.stem) for data in (store, poisoned))
    assert same(load_file(first.path), load_file(second.path))
    assert np.isfinite([list(entry.values()) for entry in second.facts["history"]]).all()


def test_held_out_scenes_are_whole_and_few(tmp_path):
    pairs = make_store(tmp_path / "pairs.zarr", scenes=TRAIN // 2)
    seen, held = pretrain._parts(pairs, asked(pairs, tmp_path))
    assert (len(seen), len(held)) == (14, 2)
    first, second = (set(map(float, part.lat[part.index])) for part in (seen, held))
    assert not first & second
    few, _ = pretrain._parts(pairs, asked(pairs, tmp_path, patches=8))
    assert len(few) < 8


def test_an_interrupted_fit_ends_with_the_same_weights(store, tmp_path):
    class Stop(Exception):
        pass

    def stop(epoch, **losses):
        if epoch == 1:
            raise Stop

    whole = fitted(store)
    with pytest.raises(Stop):
        fitted(store, training=tmp_path, report=stop)
    assert (tmp_path / "last.ckpt").is_file()
    epochs = []
    resumed = fitted(store, training=tmp_path, report=lambda epoch, **losses: epochs.append(epoch))
    assert epochs == [1, 2]
    assert resumed.history_ == whole.history_
    assert same(whole.tensors(), resumed.tensors())


def test_weights_follow_the_seed_and_what_is_hidden(store):
    one = fitted(store, 1).tensors()
    assert same(one, fitted(store, 1).tensors())
    assert not same(one, fitted(store, 1, mask_ratio=0.5).tensors())


def test_the_fingerprint_pins_the_code_that_the_weights_come_from(monkeypatch):
    """All helpers that the loop imports, but the gate, which refuses data and changes none."""
    from models import pretraining

    tree = ast.parse(Path(_mae.__file__).read_text())
    ours = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module.startswith("models")]
    names = {part for node in ours for part in (node.module.split(".")[1:] or [one.name for one in node.names])}
    expected = {"pretraining.py", "_mae.py", *(f"{name}.py" for name in names - {"_scales"})}
    assert {file.name for file in pretraining.FILES} == expected
    before, read = MaskedAutoencoder().fingerprint, []
    monkeypatch.setattr(pretraining, "code", lambda *files: read.extend(files) or "other")
    assert MaskedAutoencoder().fingerprint != before
    assert tuple(read) == pretraining.FILES


def test_finished_work_is_kept_and_a_changed_file_is_made_again(store, tmp_path):
    first = work(store, tmp_path)
    assert not first.kept
    assert not list((tmp_path / "pretrained" / "unfinished").iterdir())
    assert work(store, tmp_path) == replace(first, kept=True, facts=json.loads(json.dumps(first.facts)))
    weights = first.path.read_bytes()
    first.path.write_bytes(weights[:-4] + b"same")
    assert not work(store, tmp_path).kept
    assert first.path.read_bytes() == weights


def test_a_checkpoint_of_another_request_is_replaced_only_when_told_to(store, tmp_path):
    first = work(store, tmp_path)
    weights = first.path.read_bytes()
    with pytest.raises(
        UserError, match=r"simpretrained\.safetensors is there .*epochs 2, batch 4.*seed 0\); give --fresh"
    ):
        work(store, tmp_path, seed=1)
    assert first.path.read_bytes() == weights
    other = work(store, tmp_path, seed=1, fresh=True)
    assert other.facts["seed"] == 1
    assert first.path.read_bytes() != weights
    assert work(store, tmp_path, seed=1).kept
    other.path.with_suffix(".json").unlink()
    with pytest.raises(UserError, match=r"is there .*unknown, as no JSON beside it says"):
        work(store, tmp_path, seed=1)
    assert not work(store, tmp_path, seed=1, fresh=True).kept


def test_reconstructions_are_in_reflectance_and_hide_what_was_asked(store):
    method = fitted(store, epochs=18)
    few = images(arrays(store), np.arange(4), range(len(HLS_ROLES)))
    made, hidden = method.reconstruct(few, 0)
    assert made.shape == few.shape
    assert hidden.mean((1, 2)) == pytest.approx(0.75)
    toa = few.read()
    error = np.sqrt(np.mean((made - toa)[np.broadcast_to(hidden[:, None], made.shape)] ** 2))
    assert error < 0.8 * np.sqrt(np.mean(toa**2))


def test_time_and_place_reach_the_autoencoder(store):
    method = fitted(store, 1)
    few = images(arrays(store), np.arange(2), range(len(HLS_ROLES)))
    other = replace(few, lat=few.lat - 30.0)
    assert not np.array_equal(method.reconstruct(few, 0)[0], method.reconstruct(other, 0)[0])
    with pytest.raises(NotRun, match="no times/locations"):
        method.fit(replace(few, lat=few.lat * np.nan), few, Context())


def test_the_verb_leaves_checkpoint_facts_and_pictures(store, tmp_path):
    options = ["--data", str(store), "--epochs", "1", "--batch", "4", "--device", "cpu", "--out", str(tmp_path)]
    result = CliRunner().invoke(app, ["pretrain", *options])
    assert result.exit_code == 0, result.output
    assert "epoch 1/1: loss" in result.stdout
    folder = tmp_path / "pretrained"
    facts = json.loads((folder / f"{PLAIN}-simpretrained.json").read_text())
    assert facts["patches"] == {"train": 14, "held out": 2}
    assert facts["steps"] == 4
    assert len(facts["history"]) == 1
    assert facts["environment"]["packages"]["terratorch"]
    for name in ("losses", "reconstruction"):
        assert (folder / f"{PLAIN}-simpretrained-{name}.png").read_bytes()[:4] == b"\x89PNG"
    assert "kept from before" in CliRunner().invoke(app, ["pretrain", *options]).stdout


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"backbone": "prithvi_eo_v9"}, "no Prithvi is called 'prithvi_eo_v9'; near it are prithvi_eo_"),
        ({"mask_ratio": 1.0}, "lies between 0 and 1, and 1.0 was given"),
        ({"patches": 17}, "17 patches were asked for, and the train part of the data has 16"),
        ({"patches": 1}, "patches of two scenes or more"),
        ({"size": SIZE}, "--size is for data sets that are simulated"),
        ({"data": "nowhere"}, "there is no data set or folder 'nowhere'"),
        ({"backbone": "prithvi_eo_v2_600_tl"}, "takes patches of multiples of 14 pixels, and these are 32 x 32"),
    ],
)
def test_faults_are_one_sentence(store, tmp_path, changes, sentence):
    with pytest.raises(UserError, match=sentence) as caught:
        work(store, tmp_path, **changes)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("pretrained/*.safetensors"))


def test_data_without_the_six_roles_are_refused(tmp_path):
    five = make_store(tmp_path / "five.zarr", bands=simulated_hls.BANDS[1:])
    result = CliRunner().invoke(app, ["pretrain", "--data", str(five), "--out", str(tmp_path), "--device", "cpu"])
    assert result.exit_code == 2
    assert result.stderr.startswith("error: the data set has no band 'BLUE'; its bands are ")
    assert result.stderr.count("\n") == 1


def test_data_in_another_unit_are_refused(tmp_path):
    percent = make_store(tmp_path / "percent.zarr")
    method = MaskedAutoencoder(PLAIN)
    seen = images(arrays(percent), np.arange(TRAIN), range(len(HLS_ROLES)))
    with pytest.raises(UserError, match="percent"):
        method.fit(replace(seen, toa=[100 * patch for patch in seen.toa]), seen, Context())
