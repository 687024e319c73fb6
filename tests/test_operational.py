import numpy as np
import pytest
from patch_factory import make_images, make_part, toa_and_mask

from baselines.operational import ROWS, OperationalMask
from benchmark.api import CLOUD, Context, UserError


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_answer_is_the_map_itself(row):
    (name,) = row.reads
    toa, _ = toa_and_mask(n=3, size=16)
    values = np.random.default_rng(0).choice(np.array([0, 1, 255], np.uint8), (3, 16, 16))
    method = row.method(**row.params)
    answer = method.predict(
        make_images(toa, maps={name: values, "land": 1 - (values == CLOUD)}).take([2, 0]), Context()
    )
    assert answer.dtype == np.float32
    np.testing.assert_array_equal(answer, values[[2, 0]] == 1)


def test_no_map_is_a_fault_and_not_clear_sky():
    part = make_part(n=1, maps=("slstr_basic",))
    with pytest.raises(UserError, match="no map 'slstr_bayes'"):
        OperationalMask("slstr_bayes").predict(part.images, Context())
