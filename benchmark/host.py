"""A process that has imported what cells need and forks one child for each, so that TerraTorch's import is paid once.

Parent and host speak JSON lines: a job down, its end up. The host starts no threads before it forks. When the parent is
gone, for whatever reason, the host ends the running child and itself.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmark import ROOT


@dataclass(frozen=True)
class Job:
    """One cell of a plan file, where its output goes, and how long it may take."""

    plan: str
    index: int
    out: str
    log: str
    timeout: float


class Host:
    """The parent's end of one host process."""

    def __init__(self, needs: tuple[str, ...]) -> None:
        command = [sys.executable, "-m", "benchmark.host", *needs]
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )

    def start(self, job: Job) -> None:
        """Hand over a job; `poll` tells when it has ended."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(asdict(job)) + "\n")
        self.process.stdin.flush()

    def poll(self, seconds: float) -> dict[str, Any] | None:
        """Wait up to `seconds` for the job's end: {"exit": code} or {"timeout": true}; None while it runs."""
        assert self.process.stdout is not None
        if not select.select([self.process.stdout], [], [], seconds)[0]:
            return None
        line = self.process.stdout.readline()
        return json.loads(line) if line else {"exit": self.process.wait()}

    def close(self) -> None:
        """End the host and any child it still has."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def serve(needs: list[str]) -> None:
    """Import `needs`, then run jobs until standard input ends."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what imports print must not mix with the replies
    for need in needs:
        importlib.import_module(need)
    import benchmark.cell  # noqa: F401  (imported before forking, so that children share it)

    while line := sys.stdin.readline():
        reply = _run(Job(**json.loads(line)))
        if reply is None:
            return
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


def _run(job: Job) -> dict[str, Any] | None:
    """Fork a child for the job and wait for it; None when the parent has gone."""
    child = os.fork()
    if child == 0:
        _child(job)
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
        os.setpgid(0, 0)
        with Path(job.log).open("w", buffering=1) as log, Path(os.devnull).open() as nothing:
            os.dup2(nothing.fileno(), 0)
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
            from benchmark.cell import main

            main(Path(job.plan), job.index, Path(job.out))
            sys.stdout.flush()
            code = 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve(sys.argv[1:])
