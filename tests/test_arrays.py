"""Arrays made from a store are what was written into it, or an error."""

import shutil

import numpy as np
import pytest

from benchmark import patchset
from benchmark.api import UserError


@pytest.fixture
def copy(store, tmp_path):
    shutil.copytree(store, tmp_path / "copy.zarr")
    return tmp_path / "copy.zarr"


@pytest.mark.parametrize("variable", ["toa", "mask"])
def test_missing_chunk_is_an_error_and_not_zeros(copy, variable):
    chunk = next(file for file in sorted((copy / variable).rglob("*")) if file.is_file() and file.name[0].isdigit())
    chunk.unlink()
    with pytest.raises(UserError, match="damaged or incomplete"):
        patchset.arrays(copy)
    with pytest.raises(UserError, match="damaged or incomplete"):
        patchset.arrays(copy)


def test_arrays_are_the_store(copy):
    arrays = patchset.arrays(copy)
    ds = patchset.open_store(copy)
    np.testing.assert_array_equal(arrays.toa, ds.toa.values)
    np.testing.assert_array_equal(arrays.mask, ds.mask.values)
