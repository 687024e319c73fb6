"""Products and models small enough to be made in a test: a source of fake products, and runs as `run` leaves them."""

import json
from dataclasses import asdict

import dask.array as da
import numpy as np
import xarray as xr
from patch_factory import CLOUDY, GROUND, HLS5, bands, blobs, make_part

from benchmark import artifacts, catalog, record
from benchmark.api import Budget, Context, UserError, digest
from benchmark.plan import Cell
from benchmark.record import OK, Record
from benchmark.sources import Source

ROLES = (*HLS5, "BT_11")
FLAG = {"flag_values": [0, 1], "flag_meanings": "water land"}


def granule(rows=96, columns=120, seed=0, roles=ROLES, night=False, chunk=32, name="FAKE"):
    """Return a granule with soft clouds; its first columns are not valid, its longitudes pass the date line."""
    rng = np.random.default_rng(seed)
    cloud = blobs(rng, 1, max(rows, columns))[0, :rows, :columns]
    toa = np.empty((len(roles), rows, columns), np.float32)
    for place, role in enumerate(roles):
        noise = rng.normal(0, 2.0 if role.startswith("BT") else 0.03, cloud.shape)
        toa[place] = np.where(cloud, CLOUDY[role], GROUND[role]) + noise
        if night and not role.startswith("BT"):
            toa[place] = np.nan
    toa[0, :, :4] = np.nan
    y, x = np.mgrid[:rows, :columns]
    planes = {"lat": 40 - 0.0045 * y, "lon": (179.8 + 0.006 * x + 180) % 360 - 180}
    planes |= {"sun_zenith": np.full(cloud.shape, 110.0 if night else 40.0), "view_zenith": np.zeros(cloud.shape)}
    variables = {"toa": (("band", "y", "x"), da.from_array(toa, chunks=(1, chunk, columns)))}
    for key, plane in planes.items():
        variables[key] = (("y", "x"), da.from_array(plane.astype(np.float32), chunks=(chunk, columns)))
    variables["land"] = (("y", "x"), da.from_array((x > 50).astype(np.uint8), chunks=(chunk, columns)), FLAG)
    table = bands(roles)
    coords = {"band": [band.name for band in table]}
    coords |= {key: ("band", [getattr(band, key) for band in table]) for key in ("role", "wavelength", "quantity")}
    attrs = {"granule": f"{name}_{seed}.SEN3", "orbit": "A-1", "frame": "", "sensor": "fake", "licence": "none"}
    attrs |= {"start_time": "2024-07-01T10:00:00Z", "stop_time": "2024-07-01T10:03:00.5Z"}
    attrs |= {"maps": {}, "provenance": {"baseline": "SL_L1_.004", "grid": "an"}}
    return xr.Dataset(variables, coords, attrs)


def open_product(path, wanted, options):
    facts = json.loads(path.read_text())
    views = facts.pop("views", [])
    if options and options["view"] not in views:
        raise UserError("fake products have no option 'view'")
    ds = granule(**facts)
    if views:
        ds = ds.assign_attrs(provenance=ds.attrs["provenance"] | {"view": options.get("view", views[0])})
    return ds.isel(band=[place for place, role in enumerate(ds.role.values) if role in wanted])


SOURCE = Source(
    name="fake",
    summary="",
    recognises=lambda path: path.suffix == ".fake",
    version=lambda request: digest([path.read_bytes() for path in request.paths]),
    make=lambda request, progress: None,
    open=open_product,
)


def product(folder, **facts):
    path = folder / f"{facts.get('name', 'product')}{facts.get('seed', 0)}.fake"
    path.write_text(json.dumps(facts))
    return path


def cell(row, roles=HLS5, **changes):
    facts = {
        "row": row.name,
        "family": row.family,
        "study_id": row.study_id,
        "note": row.note,
        "data": "factory",
        "fingerprint": "f" * 64,
        "split": "5" * 64,
        "bands": tuple(role.lower() for role in roles),
        "profile": "smoke",
        "seed": 0,
        "trials": 0,
        "cap": 1.0,
        "device": "cpu",
        "budget": Budget(epochs=1, batch=4, pixels=4000),
        "latency": 1,
        "code": catalog.code_hash(row),
    }
    return Cell(**(facts | changes))


def run(out, row, size=32, roles=HLS5, view="", grid="", **changes):
    """Fit a row and leave its run below `out`, as a cell does; return the folder."""
    train, val = (make_part(8, size, roles, seed) for seed in (1, 2))
    method = row.method(**row.params)
    made = cell(row, roles, **changes)
    method.fit(train, val, Context(budget=made.budget))
    folder = made.folder(out)
    artifacts.save(method, folder / "model", train.images.bands, train.images.shape[2:], view, grid)
    environment = {"commit": "0123456789", "dirty": False}
    record.write(Record(made.key, asdict(made), OK, environment=environment), folder)
    return folder
