"""A process that has imported what cells need and forks one child for each, so that TerraTorch's import is paid once.

Parent and host speak JSON lines: a job down, its end up. The host only imports: no pool of threads has worked before it
forks. When the parent is gone, for whatever reason, the host ends the running child and itself.

Who writes into a cell's folder holds its lock: the child, from before the first file to its end, however that comes.
A lock that `flock` gives ends with the last process that has it open, so none is left behind by a killed one; shared
file systems must offer it (NFS 4, Lustre with `-o flock`, GPFS).
"""

from __future__ import annotations

import ctypes
import fcntl
import importlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmark import ROOT, record
from benchmark.environment import WORKERS


@dataclass(frozen=True)
class Job:
    """One cell (a plan of that cell alone), where its output goes, and how long it may take.

    Attributes:
        plan: `Plan.to_json`.
        out: root of what is kept.
        folder: of the cell.
        timeout: seconds.
        workers: that run cells on this machine at the same time, at most.
    """

    plan: dict[str, Any]
    out: str
    folder: str
    timeout: float
    workers: int = 1

    @property
    def log(self) -> Path:
        """What the cell prints."""
        return Path(self.folder) / "log.txt"


class Host:
    """The parent's end of one host process."""

    def __init__(self, needs: tuple[str, ...]) -> None:
        command = [sys.executable, "-m", "benchmark.host", *needs]
        # Asked in this way, PyTorch looks for devices without starting CUDA, which would not survive the fork.
        # OpenMP's threads sleep while they wait: where another process has a core, spinning makes steps 4 to 12 times
        # as long.
        environment = {"OMP_WAIT_POLICY": "PASSIVE", **os.environ, "PYTORCH_NVML_BASED_CUDA_CHECK": "1"}
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def start(self, job: Job) -> None:
        """Hand over a job; `poll` tells when it has ended, also where the host itself is gone."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(asdict(job)) + "\n")
            self.process.stdin.flush()

    def poll(self, seconds: float) -> dict[str, Any] | None:
        """Wait up to `seconds` for the end; None while it runs.

        That is {"exit": code, "why": text}, {"timeout": true}, or {"busy": true} where another process is at the cell.
        """
        assert self.process.stdout is not None
        if not select.select([self.process.stdout], [], [], seconds)[0]:
            return None
        line = self.process.stdout.readline()
        return json.loads(line) if line else {"exit": self.process.wait()}

    def close(self) -> None:
        """End the host and any child it still has."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait()


def serve(needs: list[str]) -> None:
    """Import `needs`, then run jobs until standard input ends."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what imports print must not mix with the replies
    fault = _import([*needs, "benchmark.cell"])  # before forking, so that children share it
    while line := sys.stdin.readline():
        reply = {"exit": 1, "why": fault} if fault else _run(Job(**json.loads(line)))
        if reply is None:
            return
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


def _import(names: list[str]) -> str:
    """Import modules; return why one could not be imported, "" if all were."""
    for name in names:
        try:
            importlib.import_module(name)
        except Exception as error:
            return f"import of {name} failed with {type(error).__name__}: {error}"
    return ""


def hold(folder: Path) -> int | None:
    """Return the open lock of a cell's folder, whose owner may write into it; None where another process has it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder.with_name(f".{folder.name}.lock"), os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    except OSError:
        os.close(lock)
        raise
    return lock


def _run(job: Job) -> dict[str, Any] | None:
    """Fork a child for the job and wait for it; None when the parent has gone."""
    folder = Path(job.folder)
    lock = hold(folder)
    if lock is None:
        return {"busy": True}
    if (folder / record.FILE).exists():  # another process was here since the parent looked
        os.close(lock)
        return {"exit": 0}
    child = os.fork()
    if child == 0:
        _child(job)
    os.close(lock)  # the child has it too
    return _ended(child, job)


def _ended(child: int, job: Job) -> dict[str, Any] | None:
    """Wait for a child; None when the parent has gone."""
    with suppress(OSError):  # the child does the same; whoever is first
        os.setpgid(child, child)
    deadline = time.monotonic() + job.timeout
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return {"exit": os.waitstatus_to_exitcode(status)}
        orphaned = bool(select.select([sys.stdin], [], [], 0.05)[0])  # the parent sends nothing during a job
        if orphaned or time.monotonic() > deadline:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return None if orphaned else {"timeout": True}


def _child(job: Job) -> None:
    """Run the cell in a process group of its own and leave without the host's clean-up."""
    code = 1
    try:
        _end_with_parent()
        with suppress(OSError):
            os.setpgid(0, 0)
        os.environ[WORKERS] = str(job.workers)
        shutil.rmtree(job.folder, ignore_errors=True)  # what a killed one has left
        job.log.parent.mkdir()
        with job.log.open("w", buffering=1) as log, Path(os.devnull).open() as nothing:
            os.dup2(nothing.fileno(), 0)
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
            from benchmark.cell import main
            from benchmark.plan import from_json

            main(from_json(job.plan), Path(job.out))
            sys.stdout.flush()
            code = 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _end_with_parent() -> None:
    """Have this process killed when the host is; only Linux offers that."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


if __name__ == "__main__":
    serve(sys.argv[1:])
