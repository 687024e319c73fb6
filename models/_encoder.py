"""What every backbone looks like to the neck, the decoder and the probes, whatever package it is from."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation per band that a backbone was trained with, in units of toa (fraction, kelvin).

    NaN where the backbone knows nothing of a band.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]


class Encoder(nn.Module):
    """A backbone that maps standardised patches to feature maps.

    Attributes:
        channels: of each map that `forward` gives.
        pyramid: whether each map has half the rows and columns of the one before it (a convolutional backbone); where
            not, all have one grid (a transformer's tokens).
        multiple: the input's rows and columns must be a multiple of this.
        statistics: what the input was standardised with in pretraining; None where the backbone does not say.
        adapted: names, or ends of names, of the linear layers that LoRA adapts; () where it cannot.
    """

    channels: tuple[int, ...]
    pyramid: bool = False
    multiple: int = 16
    statistics: Statistics | None = None
    adapted: tuple[str, ...] = ()

    def forward(self, toa: Tensor, *coordinates: Tensor) -> list[Tensor]:
        """Return maps (n, channels, rows, columns), the finest or first first, of standardised toa (n, b, y, x).

        Args:
            toa: without NaN.
            coordinates: time (n, 1, 2) and place (n, 2) as float32 where the backbone was built to take them.
        """
        raise NotImplementedError
