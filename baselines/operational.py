"""The cloud masks that SLSTR products carry: what their users have today, scored like every other row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmark.api import CLOUD, Context, Images, Part, Row, UserError


@dataclass
class OperationalMask:
    """A mask that came with the data; nothing is learned.

    Attributes:
        mask: name of the map: 1 cloud, 0 clear, 255 unknown.
    """

    mask: str

    def fit(self, train: Part, val: Part, ctx: Context) -> None:
        """Do nothing: the mask was made before."""

    def predict(self, images: Images, ctx: Context) -> np.ndarray:
        """Return 1 where the mask says cloud and 0 elsewhere, also where it does not know, (n, y, x).

        Raises:
            UserError: the data have no such map.
        """
        answer = images.read_map(self.mask)
        if answer is None:
            raise UserError(f"the data set has no map '{self.mask}', so there is nothing to score")
        return (answer == CLOUD).astype(np.float32)


ROWS = (
    Row(
        "slstr-basic",
        "threshold",
        OperationalMask,
        params={"mask": "slstr_basic"},
        reads=("slstr_basic",),
        reach=0,
        note="the product's own threshold tests, as shipped: their summary flag",
    ),
    Row(
        "slstr-bayes",
        "probabilistic",
        OperationalMask,
        params={"mask": "slstr_bayes"},
        reads=("slstr_bayes",),
        reach=0,
        note="the product's own Bayesian mask, as shipped",
    ),
)
