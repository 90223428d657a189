"""The desktop image, built by guest/build once for each recipe."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread

from deploy.steps import ROOT, Failed, as_root, interrupt, say, start

SILENCE_S = 20.0


@contextmanager
def being_built(variant: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The builder at work while the block does other things; it does not outlast the block."""
    say("Desktop image: building it unless it is there (some minutes the first time)")
    command = as_root([sys.executable, str(ROOT / "guest" / "build"), "--variant", variant, "--output", str(folder)])
    builder = start(command, subprocess.PIPE)
    try:
        yield builder
    finally:
        if builder.poll() is None:
            interrupt(builder)


def follow(builder: subprocess.Popen[bytes]) -> None:
    """Shows the progress that guest/build tells, and in silence that it goes on. Raises Failed when it ends badly."""
    lines: SimpleQueue[str | None] = SimpleQueue()
    Thread(target=_hear, args=(builder, lines), daemon=True).start()
    latest = ""
    while (line := _next(lines, latest)) is not None:
        if line:
            latest = line
            say(f"      {line}")
    if builder.wait():
        raise Failed("The desktop image could not be built; the lines above say why.")


def _hear(builder: subprocess.Popen[bytes], lines: SimpleQueue[str | None]) -> None:
    for line in builder.stdout or ():
        lines.put(line.decode(errors="replace").rstrip())
    lines.put(None)


def _next(lines: SimpleQueue[str | None], latest: str) -> str | None:
    """The builder's next line, None at its end; an empty one after a silence, of which people are told."""
    try:
        return lines.get(timeout=SILENCE_S)
    except Empty:
        say(f"      … still at it: {latest.rsplit('  ', 1)[-1] or 'beginning'}")
        return ""
