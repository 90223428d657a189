"""The desktop image, built by guest/build once for each recipe."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.steps import ROOT, Failed, as_root, interrupt, say, start


@contextmanager
def being_built(variant: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The builder at work while the block does other things; it does not outlast the block."""
    say("Desktop image: building it unless it is there (two to four minutes the first time)")
    command = as_root([sys.executable, str(ROOT / "guest" / "build"), "--variant", variant, "--output", str(folder)])
    builder = start(command, subprocess.PIPE)
    try:
        yield builder
    finally:
        if builder.poll() is None:
            interrupt(builder)


def follow(builder: subprocess.Popen[bytes]) -> None:
    """Shows the progress that guest/build tells, until it is done. Raises Failed when it is not done well."""
    for line in builder.stdout or ():
        say(f"      {line.decode(errors='replace').rstrip()}")
    if builder.wait():
        raise Failed("The desktop image could not be built; the lines above say why.")
