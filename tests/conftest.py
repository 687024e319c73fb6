import os
import shutil

# No test may ask the network for weights.
os.environ["HF_HUB_OFFLINE"] = "1"
# Where Python may not keep what it compiles, each of hundreds of processes would compile torch and mlflow once more.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# Workers share the cores: OpenMP threads that spin for a core another worker holds make LightGBM ten times slower.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
from patch_factory import HLS5, bands, toa_and_mask

# The longest files come first: one that starts last would leave the other worker idle.
LONGEST = ("test_end_to_end", "test_runner", "test_services", "test_cluster", "test_verify")


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    """A patch set of 9 scenes with two patches each, 32 px, with a split by scene beside it."""
    from benchmark import splits
    from benchmark.patchset import PatchWriter

    path = tmp_path_factory.mktemp("data") / "plain.zarr"
    attrs = {"sensor": "test", "label_source": "constructed", "label_bands": [], "licence": "none"}
    with PatchWriter(path, bands(HLS5), attrs) as writer:
        for scene in range(9):
            toa, mask = toa_and_mask(2, 32, HLS5, seed=scene)
            writer.append(
                [f"s{scene}p{i}" for i in range(2)],
                f"s{scene}",
                toa,
                mask,
                {"land": np.ones(mask.shape, np.uint8), "biome": np.array(["Urban", "Water"])},
                np.full(2, np.datetime64("2024-07-01T10:00:00", "s")),
                np.full(2, 45.0),
                np.full(2, 5.0),
                np.full(2, 40.0),
            )
    splits.write(splits.by_group(path, "scene", (0.5, 0.25, 0.25), seed=1), splits.split_path(path))
    return path


@pytest.fixture(scope="module")
def patience():
    """On a busy machine a process may be silent for longer than Dask waits for it."""
    import dask

    limits = {f"distributed.comm.timeouts.{name}": "100s" for name in ("connect", "tcp")}
    names = {limit: "DASK_" + limit.replace(".", "__").upper() for limit in limits}  # for processes of their own
    os.environ.update({names[limit]: value for limit, value in limits.items()})
    with dask.config.set(limits):
        yield
    for name in names.values():
        del os.environ[name]


@pytest.fixture(scope="module")
def workers(patience):
    """A cluster of two workers, processes of their own, on this machine."""
    from distributed import LocalCluster

    before = dict(os.environ)
    with LocalCluster(2, threads_per_worker=1, dashboard_address="127.0.0.1:0", memory_limit=0) as made:
        yield made
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
def tracking_store(tmp_path_factory):
    """MLflow's SQLite store with its tables and no runs: to make it takes seconds."""
    from mlflow import MlflowClient

    from benchmark import track

    folder = tmp_path_factory.mktemp("tracking")
    MlflowClient(track.default_uri(folder))
    return folder / "mlflow.db"


@pytest.fixture
def out(tmp_path, tracking_store):
    """A folder for results, with MLflow's empty tables."""
    shutil.copy(tracking_store, tmp_path)
    return tmp_path


@pytest.fixture
def one_thread():
    """Small arrays gain nothing by PyTorch's threads, which wait for each other on a busy machine."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
