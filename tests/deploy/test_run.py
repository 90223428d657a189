"""`make run` as its user meets it: sentences instead of tracebacks, and Ctrl-C however it arrives."""

import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploy.home import Home
from deploy.run import Site, interrupted, parent_make, welcome, what_is_missing
from deploy.steps import Failed
from tests.servers import wait_until

ROOT = Path(__file__).resolve().parents[2]


def run(home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    settings = {"VISA_HOME": str(home)} | environment
    return subprocess.run(
        [sys.executable, "-m", "deploy.run"],
        cwd=ROOT,
        env=os.environ | settings,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_port_in_use_is_said_before_anything_is_started(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run(tmp_path, VISA_PORT=str(taken.getsockname()[1]))
    assert done.returncode == 1
    assert "cannot be used (Address already in use)" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run" / "supervisord.conf").exists()


def test_a_second_run_on_the_same_home_is_refused_in_words(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.make()
    with home.claim():
        done = run(tmp_path)
    assert done.returncode == 1
    assert f"VISA already runs with VISA_HOME={tmp_path}" in done.stderr


@pytest.mark.parametrize("port", ["0", "65536", "-1", "http"])
def test_a_port_that_is_none_is_refused(port: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISA_PORT", port)
    with pytest.raises(Failed, match="VISA_PORT must be a number from 1 to 65535"):
        Site.of_environment()


@contextmanager
def answering(status: int, body: bytes) -> Iterator[int]:
    """A web server that gives every question this answer."""

    class Always(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Always) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_port
        finally:
            server.shutdown()


@pytest.mark.parametrize(
    ("status", "body", "sentence"),
    [
        (200, b"{}", ""),
        (
            503,
            json.dumps({"missing": ["The worker is gone.", "Redis too."]}).encode(),
            "The worker is gone. Redis too.",
        ),
        (500, b"<h1>Server error</h1>", "/health/ answers 500."),
    ],
)
def test_health_is_told_in_its_own_words(tmp_path: Path, status: int, body: bytes, sentence: str) -> None:
    with answering(status, body) as port:
        assert what_is_missing(Site(Home(tmp_path), "127.0.0.1", port)) == sentence
    assert "does not answer yet" in what_is_missing(Site(Home(tmp_path), "127.0.0.1", port))


def test_the_welcome_has_the_address_and_every_sign_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "demo-signins.json").write_text(json.dumps({"alice": "one-two-three", "admin": "four-five-six"}))
    welcome(Site(Home(tmp_path), "127.0.0.1", 8123))
    shown = capsys.readouterr().out
    assert "http://localhost:8123/" in shown
    assert "alice       one-two-three" in shown
    assert "admin       four-five-six" in shown


def test_an_interrupt_for_make_alone_is_noticed(tmp_path: Path) -> None:
    """GNU make passes no SIGINT on; it drops its handler and waits, which can be seen from below."""
    (tmp_path / "Makefile").write_text("all:\n\t@touch started; exec sleep 1000\n")
    make = subprocess.Popen(["make"], cwd=tmp_path, start_new_session=True)
    try:
        wait_until((tmp_path / "started").exists, "the recipe")
        assert not interrupted(make.pid)
        make.send_signal(signal.SIGINT)
        wait_until(lambda: interrupted(make.pid), "the sign of the interrupt")
    finally:
        os.killpg(make.pid, signal.SIGKILL)
        make.wait()


@pytest.mark.parametrize(("command", "minds"), [("make", True), ("make & wait", False)])
def test_make_in_the_background_of_a_script_minds_no_interrupt(tmp_path: Path, command: str, minds: bool) -> None:
    script = "from deploy.run import minding_make; print(minding_make() is not None)"
    (tmp_path / "Makefile").write_text(f"all:\n\t@{sys.executable} -c '{script}'\n")
    # Itself started by `make test`, an inner make would take up the outer one's flags and tell of its directories.
    outer = {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}
    environment = {name: value for name, value in os.environ.items() if name not in outer} | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(["sh", "-c", command], cwd=tmp_path, env=environment, capture_output=True, check=True)
    assert done.stdout.decode().strip() == str(minds)


def test_without_make_above_nothing_is_taken_for_an_interrupt() -> None:
    assert parent_make() is None or interrupted(parent_make()) is False
    assert not interrupted(None)
