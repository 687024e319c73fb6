"""`python -m benchmark` in processes that are forked from one which has loaded the packages of `run` and `report`.

Such a process has the arguments, folder, streams, exit status and signals of one that was started bare, in a tenth of
its time. None of the project's own modules is loaded before the fork, so that any copy of the project can be run. Bare
starts are tested in test_cli.py (`--help`, `list`), test_docs.py and test_end_to_end.py (`run`, `report`).
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import sys
import tempfile
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from subprocess import CompletedProcess

ROOT = Path(__file__).resolve().parent.parent
OURS = ("benchmark", "baselines", "models", "datasets")
PACKAGES = (
    "pandas", "seaborn", "matplotlib.backends.backend_agg", "scipy.stats", "scipy.ndimage", "jinja2", "rich.progress",
    "typer", "zarr", "psutil", "filelock", "mlflow", "mlflow.store.tracking.sqlalchemy_store",
)  # fmt: skip

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(list(PACKAGES))


def start(*args: object, cwd: Path = ROOT, said: Path | None = None) -> ForkServerProcess:
    """Start the command in a copy of the project; standard output and error go to `said`.out and `said`.err."""
    streams = [os.devnull] * 2 if said is None else [f"{said}.out", f"{said}.err"]
    process = _context.Process(target=_main, args=([str(arg) for arg in args], str(cwd), dict(os.environ), streams))
    process.start()
    return process


def benchmark(*args: object, cwd: Path = ROOT) -> CompletedProcess[str]:
    """Run the command to its end; -N is the exit status of one that signal N has ended."""
    with tempfile.TemporaryDirectory() as folder:
        said = Path(folder) / "said"
        process = start(*args, cwd=cwd, said=said)
        process.join()
        assert process.exitcode is not None
        out, err = (said.with_suffix(end).read_text() for end in (".out", ".err"))
    return CompletedProcess(list(args), process.exitcode, out, err)


def _main(args: list[str], cwd: str, environment: dict[str, str], streams: list[str]) -> None:
    """Become `python -m benchmark`: in the forked process."""
    assert not [name for name in sys.modules if name.partition(".")[0] in OURS]
    for number, path in enumerate(streams, 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT, 0o666), number)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    sys.path[:] = [cwd, *(path for path in sys.path if path and Path(path).resolve() not in (ROOT, ROOT / "tests"))]
    sys.argv = ["benchmark", *args]
    runpy.run_module("benchmark", run_name="__main__", alter_sys=True)
