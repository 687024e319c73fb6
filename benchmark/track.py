"""Copies of records in MLflow: one experiment per plan name, a parent run "leaderboard", a child run per cell.

The records stay the truth: whatever is here can be made again from them, and pushing the same ones twice adds nothing.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark import _urls
from benchmark.api import UserError, digest
from benchmark.plan import Cell, Plan
from benchmark.record import FILE, NOT_RUN, OK, Record, read
from benchmark.scores import PROBABILITY_SCORES, SCORES
from benchmark.views.lines import COSTS, FACTS, INTERVAL, OUTLINE, Line, values
from benchmark.views.report import flatten
from benchmark.views.tables import leaderboard, write_leaderboard

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run
    from pandas import DataFrame

CELL, VERSION = "nephoscope.cell", "nephoscope.version"  # tags: which cell a run copies, and which bytes of its record
PARENT = "leaderboard"
LARGEST_MODEL, LOG_TAIL = 64 * 2**20, 64 * 2**10  # bytes; a larger model stays where it is
LONGEST = 500  # characters of a parameter: what MLflow servers before 2.0 take
BATCH = {"metrics": 1000, "params": 100}  # MLflow's limits for one request
# A server that went away is asked for a quarter of a minute, one that hangs for two minutes; MLflow's own: 4 and 16.
QUIET = ("MLFLOW_DISABLE_TELEMETRY", "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT")
SETTINGS = {
    **dict.fromkeys(QUIET, "true"),
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}
MEASURES = tuple(dict.fromkeys((*INTERVAL, *SCORES, *PROBABILITY_SCORES, *OUTLINE, *COSTS, *FACTS)))


class TrackingError(Exception):
    """MLflow could not be reached or refused; the records are safe, and the message holds no credentials."""


def default_uri(out: Path) -> str:
    """Return the store used where no other is named: SQLite, as MLflow's file store is refused since version 3.13."""
    return f"sqlite:///{out.resolve() / 'mlflow.db'}"


def push(
    plan: Plan, out: Path, uri: str | None = None, frame: DataFrame | None = None, pages: Path | None = None
) -> int:
    """Copy the records of a plan into MLflow; tables, pictures and report as `report.write_report` left them.

    Returns how many records were copied, those not counted that were there already.

    Args:
        plan: whose records.
        out: root of what is kept.
        uri: of the tracking store; None: the default one.
        frame: the leaderboard that the report was written from; None: it is made and written again.
        pages: where tables, pictures and report lie; None: in `out`.

    Raises:
        TrackingError: the tracking store is not there, or refuses.
    """
    if frame is None:
        frame = leaderboard(plan, out)
        write_leaderboard(frame, out)
    records = [(cell, kept) for cell in plan.cells if (kept := read(cell.folder(out))) is not None]
    uri = uri or default_uri(out)
    with _connected(uri) as client:
        experiment = _experiment(client, plan.name, None if uri.startswith(("http", "databricks")) else out)
        known = _known(client, experiment)
        parent = _push_parent(client, experiment, known.get(PARENT), plan, frame, pages or out)
        ended = [(cell, kept) for cell, kept in records if kept.status != NOT_RUN]
        return sum(_push_cell(client, experiment, known, parent, plan, cell, kept, out) for cell, kept in ended)


def ui(out: Path, port: int) -> None:
    """Show the default store in MLflow's own pages, on this machine only, until interrupted.

    Raises:
        UserError: nothing was ever pushed to it, or MLflow ended with an error.
    """
    if not (out / "mlflow.db").exists():
        raise UserError(f"there is no MLflow store in {out}; `run` makes one")
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", default_uri(out)]
    place = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    try:
        done = subprocess.run([*command, *place], check=False, env={**os.environ, **_quiet_environment()})
    except KeyboardInterrupt:
        return
    if done.returncode:
        raise UserError(f"MLflow's pages ended with exit status {done.returncode}; port {port} may be in use")


def _quiet_environment() -> dict[str, str]:
    """Return settings under which MLflow is quiet and soon gives up, unless the user says otherwise."""
    return {name: os.environ.get(name, value) for name, value in SETTINGS.items()}


@contextmanager
def _connected(uri: str) -> Iterator[MlflowClient]:
    """Yield a client; whatever a store or one of its plug-ins raises becomes a TrackingError without credentials."""
    loggers = [logging.getLogger(name) for name in ("alembic", "mlflow.store.db.utils")]
    levels = [logger.level for logger in loggers]
    try:
        os.environ |= _quiet_environment()
        for logger in loggers:
            logger.setLevel(logging.WARNING)  # without it, 100 lines on the creation of tables
        _urls.check(uri)
        _urls.reach(uri)
        from mlflow import MlflowClient

        yield MlflowClient(tracking_uri=uri)
    except Exception as error:
        message = _urls.hidden(f"{type(error).__name__}: {error}".partition("\n")[0], uri)
        raise TrackingError(f"MLflow at {_urls.shown(uri)}: {message}") from None
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _experiment(client: MlflowClient, name: str, out: Path | None) -> str:
    """Return the experiment's id; a new one keeps its artifacts under `out`, or where the server wants them."""
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    location = None if out is None else (out / "mlartifacts").resolve().as_uri()
    return str(client.create_experiment(name, artifact_location=location))


def _known(client: MlflowClient, experiment: str) -> dict[str, Run]:
    """Return the runs of an experiment by the cell they copy; all but one of a cell are deleted.

    A request that was sent again as its answer was lost, or two machines at once, may have made several.
    """
    runs: list[Run] = []
    page = None
    while page is None or page.token:
        page = client.search_runs([experiment], page_token=page.token if page else None)
        runs += page
    known: dict[str, Run] = {}
    for run in sorted(runs, key=lambda run: VERSION in run.data.tags):  # whole copies come last, and stay
        if (cell := run.data.tags.get(CELL)) in known:
            client.delete_run(known[cell].info.run_id)
        if cell is not None:
            known[cell] = run
    return known


def _push_parent(
    client: MlflowClient, experiment: str, run: Run | None, plan: Plan, frame: DataFrame, out: Path
) -> str:
    """Make or update the run that holds the leaderboard as a whole, as its pages lie in `out`; return its id."""
    tables = [f"{name}.{kind}" for name in ("leaderboard", "effects") for kind in ("csv", "md")]
    pages = [out / name for name in (*tables, "report.html")]
    files = [path for path in (*pages, *sorted((out / "plots").glob("*.png"))) if path.exists()]
    version = digest(*(part for path in files for part in (path.name, path.read_bytes())))
    run = run or client.create_run(experiment, run_name=PARENT, tags={CELL: PARENT})
    run_id = str(run.info.run_id)
    if run.data.tags.get(VERSION) == version:
        return run_id
    for path in files:
        client.log_artifact(run_id, str(path), "plots" if path.suffix == ".png" else None)
    ranked = frame[frame["status"] == OK]
    scores = {
        f"jaccard/{row}{' tuned' * bool(tuned)}": score
        for row, tuned, score in zip(ranked["row"], ranked["tuned"], ranked["jaccard"], strict=True)
    }
    # The highest score would be a choice by the test part: the table ranks a row by its tuned line where there is one.
    first = ranked.drop_duplicates("row", keep="last")["jaccard"].head(1)
    best = {"best/jaccard": first.iloc[0]} if len(first) else {}
    _log(client, run_id, _metrics({**best, **scores}, round(time.time() * 1000)), {})
    client.set_tag(run_id, "mlflow.note.content", (out / "leaderboard.md").read_text()[:5000])
    client.set_tag(run_id, "command", plan.command)
    client.set_terminated(run_id)
    client.set_tag(run_id, VERSION, version)
    return run_id


def _push_cell(
    client: MlflowClient, experiment: str, known: Mapping[str, Run], parent: str,
    plan: Plan, cell: Cell, kept: Record, out: Path,
) -> bool:  # fmt: skip
    """Copy one record, unless the very same one was copied before; a run of an older record makes way."""
    folder = cell.folder(out)
    name, version = folder.relative_to(out).as_posix(), digest((folder / FILE).read_bytes())
    if (old := known.get(name)) is not None:
        if old.data.tags.get(VERSION) == version:
            if old.data.tags.get("mlflow.parentRunId") != parent:  # that one was a double
                client.set_tag(old.info.run_id, "mlflow.parentRunId", parent)
            return False
        client.delete_run(old.info.run_id)
    # A record that the runner wrote for a child that was killed may not know when it started.
    started = datetime.fromisoformat(kept.started).timestamp() if kept.started else time.time()
    start = round(started * 1000)
    end = start + round(kept.seconds * 1000)
    title = f"{cell.row} {'tuned' if cell.tuned else 'default'} seed{cell.seed}"
    tags = {**_tags(cell, kept), CELL: name, "mlflow.parentRunId": parent}
    run_id = client.create_run(experiment, start_time=start, run_name=title, tags=tags).info.run_id
    measured = values(Line((cell,), (kept,), out)) | {"validation": kept.validation, "seconds": kept.seconds}
    final = {measure: measured[measure] for measure in (*MEASURES, "validation", "seconds")}
    final |= {f"fact/{name}": value for name, value in kept.facts.items()}
    curves = [*_curve("epoch", kept.curves, "epoch", end), *_curve("trial", kept.trials, "number", end)]
    _log(client, run_id, [*_metrics(final, end), *curves], _params(cell, kept))
    _log_data(client, run_id, plan, cell)
    _log_files(client, run_id, folder, out)
    client.set_terminated(run_id, "FINISHED" if kept.status == OK else "FAILED", end)
    client.set_tag(run_id, VERSION, version)  # last: a copy that was cut short is made again
    return True


def _tags(cell: Cell, kept: Record) -> dict[str, str]:
    hardware = {name: kept.environment.get(name) for name in ("cpu", "cores", "threads", "memory", "device")}
    told = {
        **{"key": cell.key, "status": kept.status, "reason": kept.reason, "family": cell.family, "note": cell.note},
        **{"study_id": cell.study_id, "data": cell.fingerprint, "split": cell.split, "device": cell.device},
        "circular": " ".join(cell.circular),
        **{name: str(kept.environment.get(name, "")) for name in ("commit", "dirty")},
        "hardware": json.dumps(hardware),
    }
    return {name: value[:5000] for name, value in told.items() if value}


def _params(cell: Cell, kept: Record) -> dict[str, Any]:
    plain = {
        name: getattr(cell, name)
        for name in ("row", "data", "profile", "seed", "trials", "allowance", "labels", "bands", "device")
    }
    told = {name: value for name, value in kept.facts.items() if not isinstance(value, int | float)}
    nested = {"cell": {**plain, "budget": vars(cell.budget)}, "factor": cell.factors, "fact": told}
    return {**flatten(nested), **flatten(kept.params)}


def _metrics(found: Mapping[str, Any], when: int, step: int = 0) -> list[Metric]:
    """Return the values that are numbers; what was not measured is left out, as MLflow has no empty metric."""
    from mlflow.entities import Metric

    numbers = {name: value for name, value in found.items() if isinstance(value, int | float) and math.isfinite(value)}
    return [Metric(_allowed(name), float(value), when, step) for name, value in numbers.items()]


def _curve(prefix: str, entries: Iterable[Mapping[str, Any]], step: str, when: int) -> list[Metric]:
    return [
        metric
        for entry in entries
        for metric in _metrics({f"{prefix}/{k}": v for k, v in entry.items() if k != step}, when, int(entry[step]))
    ]


def _allowed(name: str) -> str:
    """Return a name in the characters that MLflow allows."""
    return re.sub(r"[^\w./ -]", "_", name)[:250]


def _log(client: MlflowClient, run_id: str, metrics: Sequence[Metric], params: Mapping[str, Any]) -> None:
    from mlflow.entities import Param

    entries = [Param(_allowed(name), str(value)[:LONGEST]) for name, value in params.items()]
    for start in range(0, len(metrics), BATCH["metrics"]):
        client.log_batch(run_id, metrics=metrics[start : start + BATCH["metrics"]])
    for start in range(0, len(entries), BATCH["params"]):
        client.log_batch(run_id, params=entries[start : start + BATCH["params"]])


def _log_data(client: MlflowClient, run_id: str, plan: Plan, cell: Cell) -> None:
    """Log the data set by name and hash; no pixel is read. MLflow keeps 36 characters of a digest."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    profile = json.dumps({"split": cell.split, "bands": cell.bands, "fingerprint": cell.fingerprint})
    source = json.dumps({"uri": str(plan.store)})
    data = Dataset(cell.data, cell.fingerprint[:36], "local", source, profile=profile)
    client.log_inputs(run_id, [DatasetInput(data, [InputTag("mlflow.data.context", "test")])])


def _log_files(client: MlflowClient, run_id: str, folder: Path, out: Path) -> None:
    client.log_artifact(run_id, str(folder / FILE))
    model, log = folder / "model", folder / "log.txt"
    if log.exists():
        client.log_text(run_id, log.read_bytes()[-LOG_TAIL:].decode(errors="replace"), "log_tail.txt")
    if not model.exists():
        return
    size = sum(path.stat().st_size for path in model.rglob("*") if path.is_file())
    if size < LARGEST_MODEL:
        client.log_artifacts(run_id, str(model), "model")
    else:
        client.log_text(run_id, f"{size} bytes in {model.relative_to(out)}, too many to copy\n", "model.txt")
