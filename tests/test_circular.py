"""A row that sees a band which its label derives from is marked."""

import numpy as np
from patch_factory import HLS5, bands, toa_and_mask

from benchmark import patchset, planner, splits
from benchmark.plan import SOURCE
from benchmark.views import tables


def test_the_algorithm_that_made_the_label_is_marked(tmp_path):
    store = tmp_path / "own.zarr"
    attrs = {"sensor": "test", "label_source": "any of two tests", "label_bands": ["swir_1"], "licence": "none"}
    attrs |= {"maps": {"slstr_basic": ["green", "swir_1"]}, "label_maps": ["slstr_basic"]}
    parts = {"train": ["p0"], "val": ["p1"], "test": ["p2"]}
    with patchset.PatchWriter(store, bands(HLS5), attrs) as writer:
        for scene in range(3):
            toa, mask = toa_and_mask(1, 32, HLS5, seed=scene)
            time = np.datetime64(f"2024-07-0{scene + 1}T10:00:00", "s")
            writer.append([f"p{scene}"], f"s{scene}", toa, mask, {"slstr_basic": mask}, time)
    splits.write(splits.from_parts(store, parts), splits.split_path(store))
    asked = planner.Asked(("slstr-basic", "lightgbm"), str(store), "smoke", bands="all", out=tmp_path, trials=0)
    plan = planner.make(asked, lambda done, total: None)
    assert {cell.row: cell.circular for cell in plan.cells} == {
        "slstr-basic": (SOURCE, "swir_1"),
        "lightgbm": ("swir_1",),
    }
    frame = tables.leaderboard(plan, tmp_path)
    shown = {tables.marked(row, told) for row, told in zip(frame["row"], frame["circular"], strict=True)}
    assert shown == {"slstr-basic ‡", "lightgbm †"}
    assert [told[:14] for told in tables.circles(frame)] == ["‡ label source", "† circular: it"]
    assert tables.circles(frame)[1].endswith("(swir_1)")
