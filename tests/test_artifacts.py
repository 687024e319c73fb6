import json
from dataclasses import dataclass

import numpy as np
import pytest

from benchmark import artifacts
from benchmark.api import UserError


@dataclass
class Plain:
    width: int = 3

    def fit(self, train, val, ctx):
        self.table_ = np.arange(6.0).reshape(2, 3)
        self.names_ = ["a", "b"]
        self.level_ = np.float32(0.5)
        self.scratch = object()

    def predict(self, images, ctx):
        return None


@dataclass
class Other:
    width: int = 3


def test_round_trip_of_plain_values(tmp_path):
    method = Plain(4)
    method.fit(None, None, None)
    artifacts.save(method, tmp_path)
    again = artifacts.load(Plain, tmp_path)
    assert again.width == 4
    np.testing.assert_array_equal(again.table_, method.table_)
    assert again.names_ == ["a", "b"]
    assert again.level_ == 0.5
    assert not hasattr(again, "scratch")


def learned(tmp_path):
    method = Plain()
    method.fit(None, None, None)
    artifacts.save(method, tmp_path)


def change(folder, **facts):
    """Change what a saved method says of itself, with the sums of the files as they are now."""
    path = folder / artifacts.FILE
    files = {name: total for name, total in artifacts.sums(folder).items() if name != artifacts.FILE}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"files": files} | facts))


def test_a_damaged_file_is_refused_before_it_is_read(tmp_path):
    learned(tmp_path)
    path = tmp_path / "table_.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(UserError, match=r"table_\.npy is damaged; run its row again with --fresh"):
        artifacts.load(Plain, tmp_path)
    path.unlink()
    with pytest.raises(UserError, match=r"table_\.npy is missing"):
        artifacts.load(Plain, tmp_path)


def test_a_truncated_booster_does_not_end_the_process(tmp_path):
    import lightgbm

    method = Plain()
    x = np.random.default_rng(0).random((200, 2))
    data = lightgbm.Dataset(x, x[:, 0] > 0.5)
    method.booster_ = lightgbm.train({"objective": "binary", "verbose": -1, "num_threads": 1}, data, 5)
    artifacts.save(method, tmp_path)
    path = tmp_path / "booster_.txt"
    path.write_text(path.read_text()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match=r"booster_\.txt is damaged"):
        artifacts.load(Plain, tmp_path)


def test_a_method_whose_code_has_changed_is_refused(tmp_path):
    learned(tmp_path)
    change(tmp_path, params={"width": 3, "depth": 2})
    with pytest.raises(UserError, match=r"the code of Plain has changed since .*'depth'; run its row again"):
        artifacts.load(Plain, tmp_path)


def test_what_no_loader_reads_is_refused(tmp_path):
    learned(tmp_path)
    (tmp_path / "table_.npy").write_bytes(b"")
    change(tmp_path)
    with pytest.raises(UserError, match=r"does not fit the code or the packages that are here now \(EOFError: "):
        artifacts.load(Plain, tmp_path)


@pytest.mark.parametrize("content", ["[]", "{}", "null", "{", '{"method": "Plain", "params": {}}'])
def test_a_damaged_description_is_refused(tmp_path, content):
    learned(tmp_path)
    (tmp_path / artifacts.FILE).write_text(content)
    with pytest.raises(UserError, match=r"holds no fitted method|does not say all that its method is made of"):
        artifacts.load(Plain, tmp_path)
    with pytest.raises(UserError, match=r"holds no fitted method|does not say what its method was trained on"):
        artifacts.inputs(tmp_path)


def test_what_cannot_be_stored_safely_is_refused(tmp_path):
    method = Plain()
    method.thing_ = object()
    with pytest.raises(TypeError, match="'thing_' is of no kind"):
        artifacts.save(method, tmp_path)


def test_object_arrays_are_refused(tmp_path):
    method = Plain()
    method.thing_ = np.array([object()])
    with pytest.raises(ValueError, match="pickle"):
        artifacts.save(method, tmp_path)


def test_another_method_is_refused(tmp_path):
    artifacts.save(Plain(), tmp_path)
    with pytest.raises(UserError, match="holds a Plain, not a Other"):
        artifacts.load(Other, tmp_path)


def test_empty_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match="holds no fitted method"):
        artifacts.load(Plain, tmp_path)


def test_estimator_of_an_untrusted_type_is_refused(tmp_path):
    import skops.io
    from sklearn.preprocessing import FunctionTransformer

    method = Plain()
    method.model_ = FunctionTransformer(np.exp)
    artifacts.save(method, tmp_path)
    skops.io.dump(FunctionTransformer(print_anything), tmp_path / "model_.skops")
    change(tmp_path)
    with pytest.raises(UserError, match="not trusted"):
        artifacts.load(Plain, tmp_path)


def print_anything(value):
    print(value)
    return value


def test_torch_module_keeps_trainable_parameters_and_buffers_only(tmp_path):
    import torch
    from safetensors.torch import load_file

    @dataclass
    class Net:
        seed: int = 0

        def build_network(self):
            torch.manual_seed(self.seed)
            net = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2), torch.nn.Linear(2, 1))
            net[0].requires_grad_(False)
            self.network_ = net

    method = Net(7)
    method.build_network()
    with torch.no_grad():
        method.network_[2].weight += 1
    artifacts.save(method, tmp_path)
    assert not [name for name in load_file(tmp_path / "network_.safetensors") if name.startswith("0.")]
    again = artifacts.load(Net, tmp_path)
    x = torch.ones(3, 2)
    torch.testing.assert_close(again.network_(x), method.network_.eval()(x))
    (tmp_path / "network_.safetensors").unlink()
    from safetensors.torch import save_file

    save_file({"1.weight": torch.ones(2)}, tmp_path / "network_.safetensors")
    change(tmp_path)
    with pytest.raises(UserError, match="lacks tensors"):
        artifacts.load(Net, tmp_path)
