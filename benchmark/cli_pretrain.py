"""The verb `pretrain`: weights for backbones without a hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli_verbs import Device, Out, user_errors


@user_errors
def pretrain(
    backbone: Annotated[str, typer.Option(help="A Prithvi of TerraTorch's registry.")] = "prithvi_eo_v2_tiny_tl",
    data: Annotated[
        str, typer.Option(help="Data source, folder or Zarr patch set with the six HLS bands; its train part is used.")
    ] = "simulated-hls",
    patches: Annotated[
        int | None, typer.Option(min=2, help="Patches, held-out ones included; default: 256 made, or all given.")
    ] = None,
    size: Annotated[
        int | None, typer.Option(min=32, help="Rows and columns of a simulated patch; default: 224.")
    ] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the patches.")] = 12,
    batch: Annotated[int, typer.Option(min=1, help="Patches a step.")] = 8,
    lr: Annotated[float, typer.Option(min=1e-7, help="Highest learning rate.")] = 3e-4,
    mask_ratio: Annotated[float, typer.Option(help="Share of a patch that is hidden from the encoder.")] = 0.75,
    seed: Annotated[int, typer.Option(min=0, help="Seed of weights, order and what is hidden.")] = 0,
    device: Device = None,
    out: Out = Path("results"),
    fresh: Annotated[bool, typer.Option("--fresh", help="Replace a checkpoint that is there already.")] = False,
) -> None:
    """Train a masked autoencoder on patches without labels; the rows `*-simpretrained-*` start from what it leaves."""
    from rich.console import Console

    from benchmark import planner
    from benchmark import pretrain as work
    from benchmark.cli_making import progress_bar

    console = Console(soft_wrap=True, highlight=False)
    given = planner.torch_device(device)
    asked = work.Asked(backbone, data, patches, size, epochs, batch, lr, mask_ratio, seed, given, out, fresh)

    with progress_bar("pretrain") as progress:

        def report(epoch: int, train_loss: float, val_loss: float) -> None:
            progress(epoch + 1, epochs)
            console.print(f"epoch {epoch + 1}/{epochs}: loss {train_loss:.4f}, held out {val_loss:.4f}")

        done = work.pretrain(asked, progress, report)
    losses = done.facts["history"][-1]
    how = "kept from before" if done.kept else f"{done.facts['seconds']:.0f} s"
    console.print(f"checkpoint {done.path} ({how}), loss {losses['train_loss']:.4f}, held out {losses['val_loss']:.4f}")
