"""A small UNet (Ronneberger et al. 2015) with batch normalisation and padded convolutions."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

DEPTH = 4


class UNet(nn.Module):
    """Map (n, bands, y, x) to logits (n, 2, y, x); at least 32 rows and columns.

    Args:
        bands: input channels.
        base: channels of the finest level; every level below has twice as many.
        dropout: share of channels dropped at the coarsest level.
    """

    def __init__(self, bands: int, base: int, dropout: float) -> None:
        super().__init__()
        widths = [base * 2**level for level in range(DEPTH + 1)]
        self.down = nn.ModuleList(_block(a, b) for a, b in zip([bands, *widths[:-2]], widths[:-1], strict=True))
        self.bottom = nn.Sequential(_block(widths[-2], widths[-1]), nn.Dropout2d(dropout))
        steps = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.up = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, 2) for a, b in steps)
        self.join = nn.ModuleList(_block(a, b) for a, b in steps)
        self.head = nn.Conv2d(base, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits; the border is reflected up to a multiple of 16 pixels and cut off again."""
        rows, columns = x.shape[-2:]
        x = pad(x, (0, -columns % 2**DEPTH, 0, -rows % 2**DEPTH), mode="reflect")
        skips = []
        for block in self.down:
            x = block(x)
            skips.append(x)
            x = nn.functional.max_pool2d(x, 2)
        x = self.bottom(x)
        for up, join in zip(self.up, self.join, strict=True):
            x = join(torch.cat([skips.pop(), up(x)], 1))
        return self.head(x)[..., :rows, :columns]


def _block(inputs: int, outputs: int) -> nn.Sequential:
    def layer(channels: int) -> list[nn.Module]:
        return [nn.Conv2d(channels, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]

    return nn.Sequential(*layer(inputs), *layer(outputs))
