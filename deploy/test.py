"""`make test`: the whole suite, in namespaces of its own (tests/cell), so that nothing of this host is touched.

What needs neither PostgreSQL nor machines runs beside the rest, in a cell of its own: two cores share the work. Words
on the command line go to every round.
"""

import os
import subprocess
import sys
import tempfile
from typing import IO

from deploy import image
from deploy.install import PYTHON
from deploy.steps import ROOT, main_of, say

CELL = str(ROOT / "tests" / "cell" / "enter")
# Native tracebacks: pytest parses source for its own, which Python 3.11 may refuse below the greenlets of Playwright.
PYTEST = [str(PYTHON), "-m", "pytest", "--durations", "15", "--tb", "native"]
NO_TESTS = 5  # pytest's exit code when it found none


def main() -> int:
    words = sys.argv[1:]
    with image.being_built("ci", ROOT / "var" / "images") as builder:  # the cell has no network to build it in
        image.follow(builder)
    with tempfile.TemporaryFile() as out, beside(words, out) as other:
        say("Tests on PostgreSQL; beside them, those on SQLite")
        ended = {in_a_cell([str(PYTHON), "-m", "tests.servers", *PYTEST, "-m", "postgres", *words])}
        say("Tests on real machines")
        ended |= {in_a_cell([*PYTEST, "-m", "qemu", *words])}
        say("Tests on SQLite")
        ended |= {other.wait()}
        out.seek(0)
        sys.stdout.write(out.read().decode(errors="replace"))
    harmless = {0, NO_TESTS} if words else {0}
    return 0 if ended <= harmless else 1


def beside(words: list[str], out: IO[bytes]) -> subprocess.Popen[bytes]:
    """What it says is kept in `out`, lest two rounds talk at once."""
    command = [CELL, *PYTEST, "-m", "not postgres and not qemu", *words]
    return subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=out)


def in_a_cell(command: list[str]) -> int:
    return subprocess.run([CELL, *command], cwd=ROOT, env=os.environ, check=False).returncode


if __name__ == "__main__":
    sys.exit(main_of(main))
