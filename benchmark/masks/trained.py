"""Models that a run has left: found by their row or folder, and made ready to predict."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from benchmark import artifacts, calibration, catalog, record, weights
from benchmark.api import Band, Budget, Context, Method, NotRun, Row, UserError
from benchmark.plan import Plan
from benchmark.record import Record


@dataclass(frozen=True)
class Model:
    """A fitted method and what it must be given.

    Attributes:
        row: its row.
        folder: the run that it is from.
        record: of that run.
        method: the fitted method.
        bands: what it was trained on, in their order, each in the role it played.
        roles: each band's own role, by which it is found in a product.
        size: rows and columns of the patches it was trained on.
        view: that they were seen in, "" where not known.
        context: device, batch and checkpoint.
        files: SHA-256 of each of its files, by name.
    """

    row: Row
    folder: Path
    record: Record
    method: Method
    bands: tuple[Band, ...]
    roles: tuple[str, ...]
    size: tuple[int, int]
    view: str
    context: Context
    files: dict[str, str]

    @property
    def unchanged(self) -> bool:
        """Whether the code of the method is what it was when it was trained."""
        return catalog.code_hash(self.row) == self.record.cell["code"]


def find(plan: Plan, out: Path, row: str) -> Path:
    """Return the folder of a row's run with the first seed: the tuned one, else that with its defaults.

    Raises:
        UserError: the plan lacks the row, or none of its runs was finished.
    """
    cells = sorted((cell for cell in plan.cells if cell.row == row and cell.seed == 0), key=lambda cell: not cell.tuned)
    if not cells:
        known = ", ".join(dict.fromkeys(cell.row for cell in plan.cells))
        raise UserError(f"'{row}' is neither the folder of a run nor a row of plan {plan.name}, whose rows are {known}")
    runs = [(cell.folder(out), record.read(cell.folder(out))) for cell in cells]
    for folder, done in runs:
        if done is not None and done.status == record.OK:
            return folder
    reason = next((f": {done.reason}" for _, done in runs if done is not None), "")
    raise UserError(f"row '{row}' of plan {plan.name} has no finished run{reason}")


def load(folder: Path, device: str, weights_dir: Path | None, sums: Path) -> Model:
    """Return the model of a run.

    Args:
        folder: of the run; holds its record and `model/`.
        device: torch device; rows without networks stay on the CPU.
        weights_dir: where the user keeps checkpoints.
        sums: file that remembers checksums, in the output folder of `run`.

    Raises:
        UserError: the run left no model, or a damaged one; its row or a package of it is gone; its checkpoint is not
            the one it was trained from; it was trained on a map grid, on which no product is.
    """
    done = record.read(folder)
    if done is None:
        raise UserError(f"{folder} holds no record of a run")
    if done.status != record.OK:
        raise UserError(f"the run in {folder} left no model: {done.reason}")
    try:
        row = catalog.row(done.cell["row"])
    except UserError:
        raise UserError(f"the run in {folder} is of row '{done.cell['row']}', which is no longer there") from None
    if labels := done.cell.get("labels"):
        raise UserError(f"row '{row.name}' in {folder} learnt from treated labels ({labels}) and masks no products")
    missing = next((need for need in row.needs if catalog.package_missing(need)), None)
    if missing:
        raise UserError(f"row '{row.name}' needs package '{missing}', which is not installed")
    seen = artifacts.inputs(folder / "model")
    if seen.grid:
        raise UserError(
            f"row '{row.name}' in {folder} was trained on map grid {seen.grid}, and masks are made on the grid of the "
            "product: train it on patches made without --grid"
        )
    checkpoint = _checkpoint(row, done, weights_dir, sums)
    context = Context(
        seed=done.cell["seed"],
        device=device if "torch" in row.needs else "cpu",
        budget=Budget(**done.cell["budget"]),
        weights=checkpoint,
    )
    method = artifacts.load(row.method, folder / "model", checkpoint)
    files = artifacts.sums(folder / "model")
    # A run from before bands could play other roles has none of them in its record.
    roles = tuple(band["role"] for band in done.bands) or tuple(band.role for band in seen.bands)
    return Model(row, folder, done, method, seen.bands, roles, seen.size, seen.view, context, files)


def at_chosen_threshold(model: Model) -> Model:
    """Return the model with the threshold that the validation part of its run chooses.

    Raises:
        UserError: it cannot, see `calibration.threshold_of`.
    """
    return replace(model, record=replace(model.record, threshold=calibration.threshold_of(model.folder)))


def _checkpoint(row: Row, done: Record, weights_dir: Path | None, sums: Path) -> Path | None:
    """Return the published checkpoint that the row was trained from, None where there is none."""
    if row.weights is None:
        return None
    try:
        path = weights.locate(row.weights, weights_dir, pretrained=sums.parent / weights.FOLDER)
    except NotRun as error:
        raise UserError(str(error)) from None
    if weights.checksum(path, sums) != done.cell["weights"]:
        raise UserError(f"{path} is not the checkpoint that this model of row '{row.name}' was trained from")
    return path
