"""`make test`: the whole suite, in namespaces of its own (tests/cell), so that nothing of this host is touched.

Rounds that do not get into each other's way run beside each other, each in a cell of its own: two cores share the
work. Pages have to answer in time, so browsers never run beside machines that boot. Words on the command line go to
every round. `full` as the first of them is another suite, `make test-full`: machines of the full image, in which
JupyterLab is as scientists find it.
"""

import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack

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
    on_postgres = [str(PYTHON), "-m", "tests.servers", *PYTEST, "-m", "postgres", *words]
    in_browsers = [*PYTEST, "-m", "browser and not qemu and not full and not lab", *words]
    at_labs = [*PYTEST, "-m", "lab", *words]
    on_machines = [*PYTEST, "-m", "qemu", *words]
    rest = [*PYTEST, "-m", "not postgres and not browser and not qemu and not full", *words]
    say("Tests in browsers; beside them, those on PostgreSQL")
    ended = beside(in_browsers, at_labs, on_postgres)
    say("Tests on real machines; beside them, all others")
    ended |= beside(on_machines, rest)
    harmless = {0, NO_TESTS} if words else {0}
    return 0 if ended <= harmless else 1


def beside(first: list[str], *others: list[str]) -> set[int]:
    """Their exit codes. What the others say comes after the first, lest several talk at once."""
    with ExitStack() as kept:
        outs = [kept.enter_context(tempfile.TemporaryFile()) for _ in others]
        running = [
            subprocess.Popen([CELL, *other], cwd=ROOT, stdout=out, stderr=out)
            for other, out in zip(others, outs, strict=True)
        ]
        ended = {subprocess.run([CELL, *first], cwd=ROOT, check=False).returncode}
        for other, out in zip(running, outs, strict=True):
            ended.add(other.wait())
            out.seek(0)
            sys.stdout.write(out.read().decode(errors="replace"))
    return ended


if __name__ == "__main__":
    sys.exit(main_of(main))
