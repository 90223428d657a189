"""Doing things one after the other, and saying in short lines how far it is."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TELL_EVERY = 10.0  # seconds between two lines about a step that takes long
_began = time.monotonic()


class Failed(Exception):
    """What was asked cannot be done; the message is for the person at the terminal: what happened and what to do."""


def say(text: str) -> None:
    minutes, seconds = divmod(int(time.monotonic() - _began), 60)
    print(f"[{minutes}:{seconds:02}] {text}", flush=True)


def as_root(command: Sequence[str]) -> list[str]:
    """The command, behind sudo where we are not root. sudo asks for the password at the terminal if it needs one."""
    return list(command) if os.geteuid() == 0 else ["sudo", *command]


def run(command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> None:
    """Runs a command with its output in `log`, telling its latest line now and then. Raises Failed with the last lines.

    When we are interrupted, so is the command; it is waited for, so that it can tidy up.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as sink:
        began = sink.tell()
        process = start(command, sink.fileno(), environment)
        try:
            _wait_and_tell(process, log, began)
        except KeyboardInterrupt:
            interrupt(process)
            raise
    if process.returncode:
        with log.open("rb") as output:
            output.seek(began)
            last = output.read().decode(errors="replace").splitlines()[-15:]
        lines = "\n".join(f"    {line}" for line in last)
        raise Failed(f"This failed: {' '.join(command)}\n{lines}\nThe whole output is in {log}.")


def interrupt(process: subprocess.Popen[Any], patience: float = 30.0) -> None:
    """Passes SIGINT on to a process of `start` and all that it started, and waits for its end."""
    with suppress(PermissionError, ProcessLookupError, subprocess.TimeoutExpired):
        if os.getpgid(process.pid) == process.pid:
            os.killpg(process.pid, signal.SIGINT)
        process.wait(patience)


def start(command: Sequence[str], out: int, environment: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Starts a command with both its outputs in `out`.

    As root it gets a process group of its own, so that `interrupt` reaches its children. Else it stays in ours: sudo
    must be able to ask at the terminal, and Ctrl-C there reaches what we may not signal.
    """
    try:
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env=dict(environment or os.environ),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            process_group=0 if os.geteuid() == 0 else None,
        )
    except FileNotFoundError:
        raise Failed(f"The program {command[0]} is missing. `make doctor` says what this host lacks.") from None


def _wait_and_tell(process: subprocess.Popen[bytes], log: Path, began: int) -> None:
    told = ""
    while True:
        try:
            process.wait(TELL_EVERY)
            return
        except subprocess.TimeoutExpired:
            latest = _last_line(log, began)
            if latest and latest != told:
                say(f"      … {latest[:100]}")
            told = latest


def _last_line(log: Path, began: int) -> str:
    with log.open("rb") as output:
        output.seek(max(began, output.seek(0, os.SEEK_END) - 2000))
        lines = output.read().decode(errors="replace").replace("\r", "\n").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def fingerprint(files: Iterable[Path], *facts: str) -> str:
    """One hash over the content of files and over facts, in the order given; a file that is missing counts as empty."""
    whole = hashlib.sha256("\0".join(facts).encode())
    for path in files:
        whole.update(f"\0{path}\0".encode())
        whole.update(path.read_bytes() if path.is_file() else b"")
    return whole.hexdigest()


def unless_done(stamp: Path, inputs: str, work: Callable[[], None]) -> bool:
    """Does the work unless `stamp` says that it was done for these inputs. True when it was done now."""
    if stamp.is_file() and stamp.read_text() == inputs:
        return False
    stamp.unlink(missing_ok=True)
    work()
    stamp.parent.mkdir(parents=True, exist_ok=True)
    stamp.write_text(inputs)
    return True


def main_of(program: Callable[[], int]) -> int:
    """Runs a program and turns its failures into a sentence and an exit code."""
    try:
        return program()
    except Failed as failure:
        print(f"\n{failure}", file=sys.stderr, flush=True)
        return 1
    except KeyboardInterrupt:
        print("\nStopped half-way; the next start goes on from here.", file=sys.stderr, flush=True)
        return 130
