"""`make test`: the whole suite, in namespaces of its own (tests/cell), so that nothing of this host is touched.

Two rows of rounds run beside each other, each round in a cell of its own: two cores share the work. Pages have to
answer in time, so browsers come before machines that boot, never beside them. Words on the command line go to every
round. `full` as the first of them is another suite, `make test-full`: machines of the full image, in which
JupyterLab is as scientists find it.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import IO, NamedTuple

from deploy import image
from deploy.install import PYTHON
from deploy.steps import ROOT, main_of, say

CELL = str(ROOT / "tests" / "cell" / "enter")
# Native tracebacks: pytest parses source for its own, which Python 3.11 may refuse below the greenlets of Playwright.
PYTEST = [str(PYTHON), "-m", "pytest", "--durations", "15", "--tb", "native"]
NO_TESTS = 5  # pytest's exit code when it found none


def main() -> int:
    words = sys.argv[1:]
    return on_the_full_image(words[1:]) if words[:1] == ["full"] else whole_suite(words)


def on_the_full_image(words: list[str]) -> int:
    with image.being_built("full", ROOT / "var" / "images") as builder:
        image.follow(builder)
    say("Tests in a machine of the full image")
    environment = os.environ | {"VISA_TEST_VARIANT": "full"}
    return subprocess.run([CELL, *PYTEST, "-m", "full", *words], cwd=ROOT, env=environment, check=False).returncode


def whole_suite(words: list[str]) -> int:
    with image.being_built("ci", ROOT / "var" / "images") as builder:  # the cell has no network to build it in
        image.follow(builder)
    in_browsers = [*PYTEST, "-m", "browser and not qemu and not full and not lab", *words]
    on_machines = [*PYTEST, "-m", "qemu", *words]
    on_postgres = [str(PYTHON), "-m", "tests.servers", *PYTEST, "-m", "postgres", *words]
    at_labs = [*PYTEST, "-m", "lab", *words]
    rest = [*PYTEST, "-m", "not postgres and not browser and not qemu and not full", *words]
    say("Tests in browsers and then on real machines; beside them, all others")
    with ThreadPoolExecutor() as beside, tempfile.TemporaryFile("w+") as kept:
        others = beside.submit(one_by_one, [at_labs, on_postgres, rest], kept)
        rounds = one_by_one([in_browsers, on_machines], sys.stdout) + others.result()
        kept.seek(0)
        sys.stdout.write(kept.read())
    sys.stdout.writelines(["\n", *(fault for one in rounds for fault in one.faults)])
    harmless = {0, NO_TESTS} if words else {0}
    return 0 if {one.code for one in rounds} <= harmless else 1


class Round(NamedTuple):
    """How one ended: its exit code, and pytest's lines on what failed, which else stand far above the end."""

    code: int
    faults: list[str]


def one_by_one(commands: list[list[str]], out: IO[str]) -> list[Round]:
    """These, each in a cell of its own. What they say goes to `out`, lest several talk at once."""
    return [in_a_cell(command, out) for command in commands]


def in_a_cell(command: list[str], out: IO[str]) -> Round:
    wide = os.environ | {"COLUMNS": "120"}  # pytest shortens those lines to what fits
    with subprocess.Popen(
        [CELL, *command],
        cwd=ROOT,
        env=wide,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as running:
        faults = [line for line in told(running.stdout, out) if line.startswith(("FAILED ", "ERROR "))]
    return Round(running.returncode, faults)


def told(said: IO[str] | None, out: IO[str]) -> Iterator[str]:
    for line in said or ():
        out.write(line)
        out.flush()
        yield line


if __name__ == "__main__":
    sys.exit(main_of(main))
