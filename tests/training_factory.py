"""A network of one band, samples whose mean tells the truth, and a short fit."""

import time

import numpy as np
import torch
from torch import nn

from benchmark.api import IGNORE, Budget, Context
from models import _loop, _train, _unet

SIZE, COUNT, BATCH = 32, 7, 3


LEARNING = _train.Learning(1e-3, 1e-2)


def make_samples(count=COUNT, seed=0, trap=lambda: None):
    """Noisy images of one band whose mean tells the truth; `trap` is called whenever a batch is read."""
    generator = np.random.default_rng(seed)
    masks = (generator.random((count, SIZE, SIZE)) < 0.5).astype(np.uint8)
    toa = (masks + generator.normal(0, 0.3, masks.shape))[:, None].astype(np.float32)
    masks[:, :3] = IGNORE

    def inputs(rows, elements):
        trap()
        return (_train.turn_each(toa[rows], elements),)

    return _train.Samples(count, inputs, lambda rows: masks[rows])


def make_network(seed=0):
    with _train.seeded(seed):
        return _unet.UNet(1, 4, dropout=0.3)


def accuracy(probability, mask):
    return float(((probability > 0.5) == mask)[mask != IGNORE].mean())


def context(epochs=3, batch=BATCH, **changes):
    budget = Budget(epochs=epochs, batch=batch, orientations=8)
    return Context(**{"seed": 5, "budget": budget, "score": accuracy, **changes})


def run(network=None, learning=LEARNING, seen=None, **changes):
    """Train and return the network's state, the reported curve and the facts."""
    network, curve, facts = network or make_network(), [], {}
    ctx = context(
        **{"report": lambda epoch, **values: curve.append((epoch, values)), "fact": facts.__setitem__, **changes}
    )
    _loop.train(network, seen or make_samples(), make_samples(4, 1), ctx, learning)
    return {name: value.clone() for name, value in network.state_dict().items()}, curve, facts


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


class Small(nn.Module):
    """Refuses batches above what fits."""

    def __init__(self, fits):
        super().__init__()
        self.body, self.fits, self.sizes = make_network(), fits, []

    def forward(self, toa):
        logits = self.body(toa)  # draws random numbers and moves batch statistics before it fails
        if self.training:
            self.sizes.append(len(toa))
        if len(toa) > self.fits:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return logits


def slow(seconds):
    return make_samples(12), nn.Sequential(nn.Conv2d(1, 2, 1), Wait(seconds))


class Wait(nn.Module):
    def __init__(self, seconds):
        super().__init__()
        self.seconds = seconds

    def forward(self, logits):
        time.sleep(self.seconds)
        return logits
