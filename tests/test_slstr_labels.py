import netCDF4
import numpy as np
import pytest
from slstr_factory import DAY, LAND, OCEAN, Make, change

from benchmark import granule as contract
from benchmark.api import UserError
from datasets import _slstr_labels, _slstr_reader

SUMMARY, UNFILLED = 16384, 32
THERMAL = Make(rows=24, columns=64, bands=("S8", "S9"))


@pytest.fixture(scope="module")
def product(tmp_path_factory):
    """A 1 km product: columns 0-7 unfilled; tests, Bayesian flags and probability in columns of their own."""
    made = THERMAL.write(tmp_path_factory.mktemp("labels"))
    for where, value in (
        (slice(0, 8), LAND | UNFILLED | SUMMARY),
        (slice(8, 16), LAND | DAY | SUMMARY),
        (slice(16, 24), OCEAN | DAY | SUMMARY),
        (slice(24, 32), OCEAN | DAY),
    ):
        change(made, "flags_in.nc", "confidence_in", (slice(None), where), value)
    change(made, "flags_in.nc", "cloud_in", (slice(None), slice(10, 20)), 1)  # visible
    change(made, "flags_in.nc", "cloud_in", (slice(None), slice(20, 30)), 2)  # 1.37_threshold
    change(made, "flags_in.nc", "cloud_in", (slice(None), slice(30, 40)), 128)  # gross_cloud
    change(made, "flags_in.nc", "bayes_in", (slice(None), slice(8, 20)), 1)  # single_low
    change(made, "flags_in.nc", "bayes_in", (slice(None), slice(20, 30)), 3)  # single_low, single_moderate
    change(made, "flags_in.nc", "bayes_in", (slice(None), slice(30, 40)), 255)
    change(made, "flags_in.nc", "probability_cloud_single_in", (slice(None), slice(8, 20)), -1)  # 0.495
    change(made, "flags_in.nc", "probability_cloud_single_in", (slice(None), slice(20, 30)), 0)  # 0.5
    change(made, "flags_in.nc", "probability_cloud_single_in", (slice(None), slice(30, 40)), -32768)
    return made


def columns(*spans, ignored=(), width=64):
    """Return the mask of one row: cloud in these columns, the unfilled ones and `ignored` left out."""
    row = np.zeros(width, np.uint8)
    for first, last in spans:
        row[first:last] = 1
    for first, last in ((0, 8), *ignored):
        row[first:last] = 255
    return row


@pytest.mark.parametrize(
    ("label", "row", "bands"),
    [
        ("summary_cloud", columns((8, 24)), "S1 S2 S3 S4 S5 S6 S7 S8 S9 F1 F2"),
        ("study", columns((8, 24), (32, 64)), "S1 S2 S3 S4 S5 S6 S7 S8 S9 F1 F2"),
        ("cloud:visible", columns((10, 20)), "S1 S2 S3 S5"),
        ("cloud:visible,1.37_threshold", columns((10, 30)), "S1 S2 S3 S4 S5"),
        ("cloud:gross_cloud", columns((30, 40)), "S9"),
        ("bayes", columns((20, 30), ignored=[(30, 40)]), "S1 S2 S3 S4 S5 S6 S7 S8 S9 F1 F2"),
        ("bayes:single_low", columns((8, 30), ignored=[(30, 40)]), "S1 S2 S3 S4 S5 S6 S7 S8 S9 F1 F2"),
        ("probability_cloud:0.5", columns((20, 30), ignored=[(30, 40)]), "S1 S2 S3 S4 S5 S6 S7 S8 S9 F1 F2"),
        ("probability_cloud:0.49", columns((8, 30), ignored=[(30, 40)]), "S1 S2 S3 S4 S5 S6 S7 S8 S9 F1 F2"),
    ],
)
def test_label_is_what_its_name_says(product, label, row, bands):
    ds = _slstr_labels.add(_slstr_reader.granule(product, ["S8"]), product, label)
    assert contract.faults(ds) == []
    np.testing.assert_array_equal(ds["mask"].values, np.tile(row, (24, 1)))
    assert set(ds.attrs["label_bands"]) == set(bands.split())
    assert all(word in ds.attrs["label_source"] for word in label.partition(":")[2].split(","))


@pytest.mark.parametrize(
    ("label", "left"),
    [
        ("summary_cloud", {"slstr_bayes"}),
        ("study", {"slstr_bayes"}),
        ("bayes", {"slstr_basic"}),
        ("probability_cloud:0.5", {"slstr_basic"}),
        ("cloud:visible", {"slstr_basic", "slstr_bayes"}),
    ],
)
def test_truth_is_no_rival_of_itself(product, label, left):
    ds = _slstr_labels.add(_slstr_reader.granule(product, ["S8"]), product, label)
    assert set(ds.attrs["maps"]) == left
    assert {name for name in ds.data_vars if str(name).startswith("slstr_")} == left


@pytest.mark.parametrize(
    ("label", "said"),
    [
        ("clouds", "no label 'clouds'; labels are summary_cloud, cloud:TEST"),
        ("cloud", "no flag ''"),
        ("cloud:", "no label 'cloud:'"),
        ("cloud:visible,fog", "no flag 'fog'; its flags are visible"),
        ("cloud:spare", "no flag 'spare'"),
        ("bayes:sure", "no flag 'sure'"),
        ("summary_cloud:0.5", "summary_cloud stands alone"),
        ("study:ocean", "study stands alone"),
        ("probability_cloud", "needs a probability between 0 and 1, not ''"),
        ("probability_cloud:high", "not 'high'"),
        ("probability_cloud:1", "not '1'"),
        ("file:{product}.nc", "_004.nc is missing"),
    ],
)
def test_labels_that_cannot_be_are_one_sentence(product, label, said):
    with pytest.raises(UserError, match=said):
        _slstr_labels.add(_slstr_reader.granule(product, ["S8"]), product, label)


def test_a_product_without_probabilities_says_so(tmp_path):
    product = THERMAL.write(tmp_path)
    with netCDF4.Dataset(product / "flags_in.nc", "r+") as nc:
        nc.renameVariable("probability_cloud_single_in", "something_in")
    with pytest.raises(UserError, match="has no probability_cloud_single"):
        _slstr_labels.add(_slstr_reader.granule(product, ["S8"]), product, "probability_cloud:0.5")


def test_on_500_m_flags_are_those_of_500_m_and_1_km_ones_come_from_the_nearest_pixel(tmp_path):
    """The 1 km pixels lie 1 km to the side of where they nest, so a mask by nesting would be 2 columns off."""
    product = Make(rows=8, columns=64, bands=("S1", "S8"), displaced=(-1000.0, 0.0)).write(tmp_path)
    change(product, "flags_an.nc", "confidence_an", (slice(None), slice(0, 7)), LAND | DAY | SUMMARY)
    change(product, "flags_in.nc", "bayes_in", (slice(None), slice(10, 20)), 2)
    change(product, "flags_in.nc", "probability_cloud_single_in", (slice(None), slice(10, 20)), 90)
    ds = _slstr_reader.granule(product, ["S1"])
    assert _slstr_labels.add(ds, product, "summary_cloud")["mask"].values.sum(axis=1).tolist() == [7] * 16
    expected = np.tile(np.isin(np.arange(128), np.arange(22, 42)), (16, 1))
    for label in ("bayes", "probability_cloud:0.5"):
        np.testing.assert_array_equal(_slstr_labels.add(ds, product, label)["mask"].values == 1, expected)


def test_oblique_labels_are_those_of_the_oblique_grid(tmp_path):
    product = Make(rows=8, columns=64, bands=("S8",), views="no").write(tmp_path)
    change(product, "flags_io.nc", "confidence_io", (0, slice(None)), LAND | DAY | SUMMARY)
    change(product, "flags_io.nc", "bayes_io", (1, slice(None)), 2)
    ds = _slstr_reader.granule(product, ["S8"], "oblique")
    for label, row in (("summary_cloud", 0), ("bayes", 1)):
        mask = _slstr_labels.add(ds, product, label)["mask"].values
        assert mask.any(axis=1).nonzero()[0].tolist() == [row]


def test_a_mask_file_is_ignored_where_the_product_is_unfilled(product):
    path = product.parent / f"{product.stem}.truth.nc"
    with netCDF4.Dataset(path, "w") as nc:
        nc.label_bands = ""
        nc.createDimension("y", 48)
        nc.createDimension("x", 128)
        nc.createVariable("mask", "u1", ("y", "x"))[:] = 1
    ds = _slstr_labels.add(_slstr_reader.granule(product, ["S8"]), product, "file:{product}.truth.nc")
    assert contract.faults(ds) == []
    np.testing.assert_array_equal(ds["mask"].values, np.tile(columns((8, 64)), (24, 1)))
    assert ds.attrs["label_bands"] == []
    assert set(ds.attrs["maps"]) == {"slstr_basic", "slstr_bayes"}
