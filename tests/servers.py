"""Real servers for the tests, each private to the run: Redis and PostgreSQL on unix sockets in a temporary folder.

`python -m tests.servers COMMAND...` runs the command with DATABASE_URL naming a fresh PostgreSQL.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

PATIENCE = 60.0  # seconds until a server must answer


def wait_until(condition: Callable[[], object], what: str, patience: float = PATIENCE, every: float = 0.05) -> None:
    """Returns as soon as `condition()` is true; raises TimeoutError naming `what` after `patience` seconds."""
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not come about within {patience:.0f} seconds")
        time.sleep(every)


def answers_on(port: int, process: subprocess.Popen[bytes]) -> None:
    """Once this process takes connections at a port of this host. Raises RuntimeError where it ends before."""

    def answers() -> bool:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} has ended")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            return False
        return True

    wait_until(answers, f"an answer at port {port}")


class RedisServer:
    """A redis-server on a unix socket, which keeps what it was told across `kill` and `start`."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self.folder = socket.parent / f"{socket.stem}-data"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        keep = ["--appendonly", "yes", "--appendfsync", "always", "--save", "", "--dir", str(self.folder)]
        listen = ["--port", "0", "--unixsocket", str(self.socket), "--logfile", str(self.folder / "redis.log")]
        self.process = subprocess.Popen(["redis-server", *listen, *keep])
        wait_until(self.answers, f"redis-server on {self.socket}")

    def answers(self) -> bool:
        ping = subprocess.run(["redis-cli", "-s", str(self.socket), "ping"], capture_output=True, check=False)
        return ping.stdout.strip() == b"PONG"

    def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(PATIENCE)
            self.process = None


@contextmanager
def redis_server(socket: Path) -> Iterator[RedisServer]:
    """A Redis that ends with the block. The path of the socket must be shorter than 108 bytes (sun_path)."""
    socket.parent.mkdir(parents=True, exist_ok=True)
    server = RedisServer(socket)
    server.start()
    try:
        yield server
    finally:
        server.kill(signal.SIGTERM)


@contextmanager
def postgresql() -> Iterator[str]:
    """The DATABASE_URL of a new, empty PostgreSQL cluster that ends with the block."""
    folder = Path(tempfile.mkdtemp(prefix="visa-pg-"))
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        shutil.chown(folder, "postgres")
    try:
        _as_postgres("initdb", "-D", str(folder / "data"), "-U", "visa", "--auth=trust", "-E", "UTF8", "--no-sync")
        options = f"-k {folder} -c listen_addresses='' -c fsync=off -c max_connections=200"
        _as_postgres("pg_ctl", "-D", str(folder / "data"), "-o", options, "-l", str(folder / "log"), "-w", "start")
        try:
            _as_postgres("createdb", "-h", str(folder), "-U", "visa", "visa")
            yield f"postgres://visa@/{folder}/visa"
        finally:
            _as_postgres("pg_ctl", "-D", str(folder / "data"), "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _as_postgres(program: str, *args: str) -> None:
    command = [str(_postgres_programs() / program), *args]
    if os.geteuid() == 0:
        command = ["runuser", "-u", "postgres", "--", *command]
    done = subprocess.run(command, cwd="/", stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{program} failed: {done.stdout}{done.stderr}")


def _postgres_programs() -> Path:
    """The newest installed version's folder; Debian keeps these programs out of PATH."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if not versions:
        raise RuntimeError("PostgreSQL is missing: apt-get install postgresql")
    return versions[-1].parent


def main() -> int:
    with postgresql() as url:
        return subprocess.run(sys.argv[1:], env=os.environ | {"DATABASE_URL": url}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
