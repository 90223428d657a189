"""`make run`: from nothing to a running VISA with its demo facility, and back when Ctrl-C is pressed."""

import json
import os
import re
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from deploy import hypervisor, image
from deploy.home import Home, require_free
from deploy.install import PYTHON, install
from deploy.steps import ROOT, Failed, fingerprint, main_of, run, say, unless_done
from deploy.supervision import Supervisor, site_programs, write_configuration

HEALTHY_WITHIN = 120.0  # seconds
LOCAL = ("127.0.0.1", "::1", "0.0.0.0", "::")  # noqa: S104 - reached from here as localhost


class Site:
    """One run of VISA: where it lives and where it listens."""

    def __init__(self, home: Home, address: str, port: int) -> None:
        self.home = home
        self.address = address
        self.port = port
        self.log = home.log / "start.log"
        self.url = f"http://{'localhost' if address in LOCAL else address}:{port}"

    @classmethod
    def of_environment(cls) -> "Site":
        port = os.environ.get("VISA_PORT") or "8000"
        if not port.isdigit() or not 0 < int(port) < 65536:
            raise Failed(f"VISA_PORT must be a number from 1 to 65535, not {port!r}.")
        return cls(Home.of_environment(), os.environ.get("VISA_BIND") or "127.0.0.1", int(port))

    def environment(self) -> dict[str, str]:
        """What the programs of the site are told; .env in VISA_HOME says the rest."""
        ours = {"VISA_HOME": str(self.home.path), "VISA_PORT": str(self.port), "PYTHONUNBUFFERED": "1"}
        return os.environ | ours

    def manage(self, *words: str) -> None:
        run([str(PYTHON), "manage.py", *words], self.log, self.environment())


def main() -> int:
    site = Site.of_environment()
    site.home.make()
    with site.home.claim() as claim:
        require_free(site.address, site.port)
        install()
        host_programs = hypervisor.prepare(site.home.run)
        site.home.write_secrets()
        configuration = write_configuration(site.home, host_programs, site_programs(site.address, site.port))
        supervisor = Supervisor(site.home, configuration, site.environment(), claim.fileno())
        try:
            prepare(site, supervisor)
            with signals_noted() as signalled:
                welcome(site)
                wait(supervisor, signalled)
        finally:
            stop(supervisor)
    return 0


def prepare(site: Site, supervisor: Supervisor) -> None:
    """Everything between the first daemon and a site that says it is healthy."""
    variant = os.environ.get("VISA_IMAGE_VARIANT") or "full"
    with image.being_built(variant, site.home.images) as builder:
        supervisor.wait_for_redis()
        collect_static_files(site)
        image.follow(builder)
    hypervisor.wait_until_ready()
    say("Database, demo facility and host: preparing what is not there yet")
    site.manage("prepare_demo")
    say("Starting web, worker, beat and observer")
    supervisor.start_site()
    wait_until_healthy(site, supervisor)


def collect_static_files(site: Site) -> None:
    """Copies and compresses what browsers fetch; only when something of it changed, as compressing takes a while."""
    files = sorted(path for path in (ROOT / "static").rglob("*") if path.is_file())
    inputs = fingerprint([*files, ROOT / "requirements.txt"])

    def collect() -> None:
        say("Files for browsers: collecting and compressing")
        site.manage("collectstatic", "--no-input", "--verbosity", "0")

    unless_done(site.home.run / "static-files", inputs, collect)


def wait_until_healthy(site: Site, supervisor: Supervisor) -> None:
    deadline = time.monotonic() + HEALTHY_WITHIN
    told = ""
    while missing := what_is_missing(site):
        if not supervisor.lives() or time.monotonic() > deadline:
            raise Failed(f"VISA did not become healthy: {missing} The logs are in {site.home.log}.")
        if missing != told:
            say(f"      … {missing}")
            told = missing
        time.sleep(0.25)


def what_is_missing(site: Site) -> str:
    """What /health/ says is missing, in its words; nothing when all live."""
    question = f"{site.url}/health/"
    try:
        with urllib.request.urlopen(question, timeout=5):  # noqa: S310 - our own http address
            return ""
    except urllib.error.HTTPError as answer:
        with suppress(ValueError, KeyError, TypeError):
            return " ".join(json.load(answer)["missing"])
        return f"/health/ answers {answer.code}."
    except OSError:
        return "The web process does not answer yet."


def welcome(site: Site) -> None:
    say("VISA runs.\n")
    print(f"    {site.url}/\n")
    signins = site.home.path / "demo-signins.json"
    if signins.exists():
        print("    Demo sign-ins   username    password")
        for name, password in json.loads(signins.read_text()).items():
            print(f"                    {name:<10}  {password}")
        print(f"    (also in {signins})\n")
    print("    Ctrl-C stops VISA. Machines go on running; the next start finds them again.", flush=True)


@contextmanager
def signals_noted() -> Iterator[list[int]]:
    """SIGINT, SIGTERM and SIGHUP are written into the list instead of ending the program."""
    noted: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        noted.append(number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, note)
    yield noted


def wait(supervisor: Supervisor, signalled: list[int]) -> None:
    """Returns when somebody asks to stop. Raises Failed when supervisor dies."""
    make = minding_make()
    while not signalled and not interrupted(make):
        if not supervisor.lives():
            raise Failed(
                f"supervisor ended by itself, and VISA with it. Its log is {supervisor.home.log}/supervisord.log."
            )
        time.sleep(0.25)


def parent_make() -> int | None:
    """The process id of the `make` above us, with a shell or sg between us and it or not."""
    above = os.getppid()
    while above > 1:
        fields = dict(line.split(":\t", 1) for line in Path(f"/proc/{above}/status").read_text().splitlines())
        if fields["Name"] in ("make", "gmake"):
            return above
        above = int(fields["PPid"])
    return None


def minding_make() -> int | None:
    """The `make` above us, if SIGINT means something to it: in the background of a script it never does."""
    make = parent_make()
    return None if interrupted(make) else make


def interrupted(make: int | None) -> bool:
    """Whether `make` got a SIGINT meant for all: it then waits for us without a word, its own handler dropped."""
    if make is None:
        return False
    try:
        caught = re.search(r"^SigCgt:\s*(\w+)", Path(f"/proc/{make}/status").read_text(), re.MULTILINE)
    except OSError:
        return True
    return caught is not None and not int(caught[1], 16) & 1 << (signal.SIGINT - 1)


def stop(supervisor: Supervisor) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    print(flush=True)
    say("Stopping VISA; machines stay as they are")
    supervisor.stop()
    say("Stopped.")


@contextmanager
def alone_at_the_terminal() -> Iterator[None]:
    """Ctrl-C at a terminal is for us, not for the `make` above us: it would report an error where there is none."""
    if not sys.stdin.isatty() or os.tcgetpgrp(0) != os.getpgrp() or parent_make() is None:
        yield
        return
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # giving the terminal back is done from its background
    before = os.getpgrp()
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpgrp())
    try:
        yield
    finally:
        os.tcsetpgrp(0, before)


def terminated(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, terminated)
    signal.signal(signal.SIGHUP, terminated)
    with alone_at_the_terminal():
        code = main_of(main)
    sys.exit(code)
