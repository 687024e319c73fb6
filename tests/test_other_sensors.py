"""Instruments that satpy reads, as data sources; their granules are tested in test_olci.py and test_seviri.py."""

from __future__ import annotations

import pickle
from dataclasses import replace
from datetime import timedelta

import netCDF4
import numpy as np
import olci_factory as olci_files
import pytest
import seviri_factory as seviri_files

from benchmark.api import UserError
from benchmark.patchset import attributes, table
from benchmark.sources import Request
from datasets import _satpy_sensors, olci, seviri


def pickled(function, arguments):
    """Do pieces of work as a cluster does them: from what is left of them after pickling."""
    for argument in arguments:
        function, argument = pickle.loads(pickle.dumps((function, argument)))
        yield pickle.loads(pickle.dumps(function(argument)))


@pytest.fixture
def native(tmp_path):
    return seviri_files.write_native(tmp_path, seviri_files.constant(), south=1840, east=1840)


@pytest.mark.parametrize("module", [olci, seviri])
def test_bands_are_known_by_name_and_role(module):
    assert len({band.role for band in module.BANDS}) == len(module.BANDS)
    with pytest.raises(UserError, match=r"has no band 'S8'; bands are .*(Oa04 \(BLUE\)|VIS006 \(RED\))"):
        _satpy_sensors.choose(module.SENSOR, ["S8"])
    last = module.BANDS[-1]
    assert _satpy_sensors.choose(module.SENSOR, [last.role, "RED", last.name])[0] == last


def test_what_is_recognised(native, tmp_path):
    slot = seviri_files.write_hrit(tmp_path / "slots" / "one", {"IR_108": np.full((32, 32), 400)})
    product = olci_files.write(tmp_path / "olci", olci_files.constant())
    for path in (native, native.parent, slot, slot.parent):
        assert seviri.SOURCE.recognises(path)
        assert not olci.SOURCE.recognises(path)
    for path in (product, product.parent):
        assert olci.SOURCE.recognises(path)
        assert not seviri.SOURCE.recognises(path)
    assert not olci.SOURCE.recognises(tmp_path / "missing")


def test_other_labels_and_views_are_refused(native):
    with pytest.raises(UserError, match="no cloud mask 'summary_cloud'"):
        seviri.SOURCE.open(native, (), {"label": "summary_cloud"})
    with pytest.raises(UserError, match="have no option 'view'"):
        seviri.SOURCE.open(native, (), {"view": "nadir"})
    options = {"label": "file:{product}.nc", "view": "nadir"}
    with pytest.raises(UserError, match="a single view"):
        seviri.SOURCE.make(Request((native,), native.with_suffix(".zarr"), options=options), lambda done, total: None)
    request = Request((native,), native.with_suffix(".zarr"))
    with pytest.raises(UserError, match="name mask files with --label"):
        seviri.SOURCE.make(request, lambda done, total: None)


def test_images_of_three_days_become_a_patch_set(tmp_path):
    rng = np.random.default_rng(0)
    for day in range(3):
        cloud = rng.random((16, 24)) < 0.5
        counts = seviri_files.constant(IR_108=np.where(cloud, 300, 700), VIS006=np.where(cloud, 700, 150))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(seviri_files, "START", seviri_files.START + timedelta(days=2 * day))
            product = seviri_files.write_native(tmp_path, counts, south=1840, east=1840)
        with netCDF4.Dataset(tmp_path / f"{product.stem}.mask.nc", "w") as file:
            file.createDimension("y", 16)
            file.createDimension("x", 24)
            file.createVariable("mask", "u1", ("y", "x"))[:] = cloud
    options = {"label": "file:{product}.mask.nc", "bands": "RED,BT_11"}
    request = Request((tmp_path,), tmp_path / "store.zarr", size=8, options=options)
    before = seviri.SOURCE.version(request)
    seviri.SOURCE.make(request, lambda done, total: None)
    rows, facts = table(request.store), attributes(request.store)
    assert len(rows.ids) == 3 * 2 * 3
    elsewhere = replace(request, store=tmp_path / "elsewhere.zarr", spread=pickled)
    seviri.SOURCE.make(elsewhere, lambda done, total: None)
    assert attributes(elsewhere.store)["fingerprint"] == facts["fingerprint"]
    assert set(rows.scenes) == {f"Meteosat-11-2021-03-{day:02}" for day in (2, 4, 6)}
    assert (facts["sensor"], facts["label_bands"], facts["products"]) == ("SEVIRI", None, 3)
    (tmp_path / f"{product.stem}.mask.nc").touch()
    assert seviri.SOURCE.version(request) != before
