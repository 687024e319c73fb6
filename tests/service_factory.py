"""PostgreSQL and an MLflow tracking server of one's own, on 127.0.0.1, in a temporary folder."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

PASSWORD = "hunter2-Zq8"
OWNER = "postgres"  # who runs the server where the tests run as root, which PostgreSQL refuses


def postgres_programs() -> Path | None:
    """Return the folder of initdb and pg_ctl, as Debian's package `postgresql` or the search path has them."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).resolve().parent if on_path else None


def missing() -> str:
    """Return why the services cannot be started here, "" where they can."""
    if postgres_programs() is None:
        return "PostgreSQL is not here; `apt-get install postgresql` brings it"
    if find_spec("psycopg") is None:
        return "psycopg is not here; the extra `services` brings it"
    return ""


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


@dataclass
class Postgres:
    """A cluster of its own, with one user and a password."""

    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="nephoscope-postgres-")))
    port: int = field(default_factory=free_port)

    def create(self) -> None:
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        if os.getuid() == 0:
            for path in (self.folder, secret):
                shutil.chown(path, OWNER, OWNER)
        options = ("--auth", "scram-sha-256", "--encoding", "UTF8", "--no-locale", "--no-sync", "--pwfile", str(secret))
        self._call("initdb", "-D", str(self.folder / "data"), "--username", "neph", *options)
        settings = {"port": self.port, "listen_addresses": "'127.0.0.1'", "fsync": "off", "max_connections": 60}
        settings["unix_socket_directories"] = f"'{self.folder}'"
        with (self.folder / "data" / "postgresql.conf").open("a") as stream:
            stream.writelines(f"{name} = {value}\n" for name, value in settings.items())

    def start(self) -> None:
        self._call("pg_ctl", "-D", str(self.folder / "data"), "-l", str(self.folder / "log"), "-w", "start")

    def stop(self, mode: str = "fast") -> None:
        self._call("pg_ctl", "-D", str(self.folder / "data"), "-m", mode, "-w", "stop")

    def database(self, name: str) -> str:
        """Make a database and return its address, password included."""
        import psycopg

        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f'create database "{name}"')
        return self.url(name)

    def url(self, name: str) -> str:
        return f"postgresql://neph:{PASSWORD}@127.0.0.1:{self.port}/{name}"

    def _call(self, program: str, *args: str) -> None:
        programs = postgres_programs()
        assert programs is not None
        who = {"user": OWNER, "group": OWNER, "extra_groups": []} if os.getuid() == 0 else {}
        command = [str(programs / program), *args]
        # The server keeps what it inherits: a pipe would never end.
        with (self.folder.parent / f"{self.folder.name}.out").open("w+") as said:
            done = subprocess.run(command, check=False, cwd="/", stdout=said, stderr=said, timeout=60, **who)
            said.seek(0)
            assert done.returncode == 0, said.read()

    def remove(self) -> None:
        with suppress(AssertionError):  # stopped already
            self.stop("immediate")
        shutil.rmtree(self.folder, ignore_errors=True)
        (self.folder.parent / f"{self.folder.name}.out").unlink(missing_ok=True)


@dataclass
class Tracking:
    """An MLflow server with its artifacts in a folder, in front of a database."""

    database: str
    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", self.database, "--workers", "1"]
        command += ["--artifacts-destination", str(self.folder / "artifacts")]
        command += ["--host", "127.0.0.1", "--port", str(self.port)]
        # Without the job runner, nine processes fewer.
        quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, start_new_session=True, cwd=self.folder, env={**os.environ, **quiet}
            )
        deadline = time.monotonic() + 300  # a busy machine
        while not self._answers():
            assert self.process.poll() is None, (self.folder / "server.log").read_text()[-3000:]
            assert time.monotonic() < deadline, "the MLflow server does not answer"
            time.sleep(0.2)

    def stop(self) -> None:
        """End the server and its workers at once."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=5) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False


WORKER = """
import json, sys, time
from tests import test_tune
from benchmark import tune
url, name, trials, pause = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
def fit(changes, report, left):
    print("trial", changes["x"], flush=True)
    time.sleep(pause)
    return None, -((changes["x"] - 3) ** 2)
effort = tune.Effort(trials, 60.0, 0, name, url)
print(json.dumps(tune.search(test_tune.ROW, test_tune.FIRST, fit, effort).trials))
"""


def study_worker(url: str, name: str, trials: int, pause: float) -> subprocess.Popen[str]:
    """Start a process that works on a study; it prints a line a trial, then all trials as JSON."""
    command = [sys.executable, "-c", WORKER, url, name, str(trials), str(pause)]
    root = Path(__file__).resolve().parent.parent
    paths = {"PYTHONPATH": f"{root}{os.pathsep}{root / 'tests'}"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, cwd=root, env={**os.environ, **paths}, text=True, **pipes)
