"""Patch sets: the one form in which data reaches the benchmark.

A patch set is an `xarray.Dataset` in a Zarr store:

- `toa` (patch, band, y, x) float32: reflectance as a fraction normalised by cos(sun zenith), brightness temperature
  in K, or elevation in m above the sea or the ellipsoid, as its source has it; an invalid pixel is NaN in every band.
- `mask` (patch, y, x) uint8: 0 clear, 1 cloud, 255 ignore; 255 wherever toa is NaN.
- any other variable on (patch, y, x) or (patch) is a stratum: scores are also given apart for its values. The stratum
  `land` (uint8; 0 water, 1 land, 255 unknown) is a map known before the image was taken, so methods may see it.
  Two attributes set variables apart: `metadata` names those that only describe a patch (orbit, frame, `footprint`: a
  WKT polygon of longitudes and latitudes), `maps` the cloud masks of others (name -> bands that they derive from).
- coordinates of a patch: `patch` (unique id), `scene`, `time`, `lat`, `lon`, `sun_zenith`, `sha256` of its content;
  coordinates of a band: `band` (name), `role`, `wavelength` (um; 0 for elevation), `quantity`.
- attributes: `sensor`, `label_source`, `label_bands` (bands that the label derives from: empty if it is independent,
  None if not known), `licence`, `fingerprint`, and any other; `label_maps` names those of `maps` that the algorithm
  made which made the label: rows that are these masks are marked.
"""

from benchmark.patchset._arrays import Arrays, arrays, images, part
from benchmark.patchset._store import Table, attributes, bands_of, fingerprint, is_store, open_store, table, validate
from benchmark.patchset._writer import PatchWriter, check_replaceable, replace_folder

__all__ = [
    "Arrays",
    "PatchWriter",
    "Table",
    "arrays",
    "attributes",
    "bands_of",
    "check_replaceable",
    "fingerprint",
    "images",
    "is_store",
    "open_store",
    "part",
    "replace_folder",
    "table",
    "validate",
]
