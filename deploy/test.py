"""`make test`: the whole suite, in namespaces of its own (tests/cell), so that nothing of this host is touched.

What runs on PostgreSQL goes first; the second, longer round runs on SQLite. Words on the command line go to both.
"""

import os
import subprocess
import sys

from deploy import image
from deploy.install import PYTHON
from deploy.steps import ROOT, main_of, say

CELL = str(ROOT / "tests" / "cell" / "enter")
PYTEST = [str(PYTHON), "-m", "pytest"]
NO_TESTS = 5  # pytest's exit code when it found none


def main() -> int:
    words = sys.argv[1:]
    with image.being_built("ci", ROOT / "var" / "images") as builder:  # the cell has no network to build it in
        image.follow(builder)
    say("Tests on PostgreSQL")
    first = in_the_cell([str(PYTHON), "-m", "tests.servers", *PYTEST, "-m", "postgres", *words])
    say("Tests on SQLite")
    second = in_the_cell([*PYTEST, "-m", "not postgres", "--durations", "15", *words])
    harmless = {0, NO_TESTS} if words else {0}
    return 0 if {first, second} <= harmless else 1


def in_the_cell(command: list[str]) -> int:
    return subprocess.run([CELL, *command], cwd=ROOT, env=os.environ, check=False).returncode


if __name__ == "__main__":
    sys.exit(main_of(main))
