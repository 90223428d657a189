"""A whole VISA as `make run` starts it, at home in a temporary folder, with real machines and nothing left out."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import requests

from tests.servers import wait_until

ROOT = Path(__file__).parents[2]
IMAGES = Path(os.environ.get("VISA_TEST_IMAGES", ROOT / "var" / "images"))
VARIANT = os.environ.get("VISA_TEST_VARIANT", "ci")
"""The image that machines of the flows are made from; `full` is for `make test-full`."""
START_PATIENCE = 240.0
MACHINE_PATIENCE = 300.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Installation:
    """`make run` in the tests' own namespaces; everybody's quota is large enough for the tests that make many."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.port = free_port()
        self.url = f"http://localhost:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None
        self.environment = {name: value for name, value in os.environ.items() if not _is_the_tests_own(name)} | {
            "VISA_HOME": str(home),
            "VISA_PORT": str(self.port),
            "VISA_IMAGE_VARIANT": VARIANT,
            "VISA_VIRTUALISATION": "qemu",
            "VISA_DEFAULT_QUOTA": "12",
            "VISA_CELL": os.environ["VISA_CELL"],
        }
        offer(VARIANT, home / "images")

    def start(self) -> None:
        out = (self.home / "make-run.out").open("ab")
        command = ["python3", "-m", "deploy.run"]
        self.process = subprocess.Popen(command, cwd=ROOT, env=self.environment, stdout=out, stderr=out)
        out.close()
        try:
            wait_until(self._up, "VISA", START_PATIENCE, every=0.3)
        except TimeoutError:
            self.stop()
            raise RuntimeError(f"make run did not get there:\n{self.output()[-4000:]}") from None

    def _up(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise RuntimeError(f"make run ended:\n{self.output()[-4000:]}")
        return self.healthy() and "Ctrl-C stops VISA" in self.output()

    def output(self) -> str:
        return (self.home / "make-run.out").read_text()

    def stop(self) -> None:
        """Ctrl-C."""
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)
        self.process.wait(90)

    def healthy(self) -> bool:
        try:
            return requests.get(f"{self.url}/health/", timeout=5).status_code == 200
        except requests.RequestException:
            return False

    def sign_ins(self) -> dict[str, str]:
        passwords: dict[str, str] = json.loads((self.home / "demo-signins.json").read_text())
        return passwords

    def manage(self, *words: str) -> None:
        subprocess.run([sys.executable, "manage.py", *words], cwd=ROOT, env=self.environment, check=True)

    def pid(self, program: str) -> int:
        """The process id of one of supervisor's programs, by name: web, worker, beat, observer, redis."""
        control = [
            str(Path(sys.executable).parent / "supervisorctl"),
            "-c",
            str(self.home / "run" / "supervisord.conf"),
        ]
        status = subprocess.run([*control, "status"], capture_output=True, text=True, check=False, cwd=ROOT).stdout
        found = re.search(rf"^(?:\w+:)?{program}\s+RUNNING\s+pid (\d+)", status, re.MULTILINE)
        if found is None:
            raise RuntimeError(f"{program} does not run:\n{status}")
        return int(found[1])


def offer(variant: str, images: Path) -> None:
    """Put this image into the folder and no other, whatever else was built on this host."""
    images.mkdir()
    described = IMAGES / f"{variant}.json"
    for file in (described, IMAGES / json.loads(described.read_text())["file"]):
        (images / file.name).symlink_to(file)


def _is_the_tests_own(name: str) -> bool:
    return name.startswith("VISA_") or name in {"DJANGO_SETTINGS_MODULE", "DATABASE_URL"}


def virsh(*words: str) -> list[str]:
    """The lines that virsh prints of the host."""
    done = subprocess.run(["virsh", "-q", "-c", "qemu:///system", *words], capture_output=True, text=True, check=True)
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]


def volumes() -> list[str]:
    """The names of all volumes in VISA's storage pool on the host."""
    (pool,) = [name for name in virsh("pool-list", "--name") if name.startswith("visa")]
    return [line.split()[0] for line in virsh("vol-list", pool)]


class Person:
    """Somebody who is signed in and uses the API, as the pages' scripts would."""

    def __init__(self, visa: Installation, name: str) -> None:
        self.visa = visa
        self.session = requests.Session()
        page = self.session.get(f"{visa.url}/accounts/login/", timeout=30)
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
        assert token is not None
        form = {"login": name, "password": visa.sign_ins()[name], "csrfmiddlewaretoken": token[1]}
        answer = self.session.post(f"{visa.url}/accounts/login/", form, headers={"Referer": visa.url}, timeout=30)
        assert answer.url == f"{visa.url}/", answer.url

    def get(self, path: str) -> Any:
        answer = self.session.get(f"{self.visa.url}/api/v1/{path}", timeout=30)
        answer.raise_for_status()
        return answer.json()

    def post(self, path: str, document: dict[str, Any] | None = None) -> requests.Response:
        return self.session.post(
            f"{self.visa.url}/api/v1/{path}", json=document or {}, headers=self._proof(), timeout=30
        )

    def patch(self, path: str, document: dict[str, Any]) -> requests.Response:
        return self.session.patch(f"{self.visa.url}/api/v1/{path}", json=document, headers=self._proof(), timeout=30)

    def delete(self, path: str) -> requests.Response:
        return self.session.delete(f"{self.visa.url}/api/v1/{path}", headers=self._proof(), timeout=30)

    def _proof(self) -> dict[str, str]:
        """What shows that the request comes from our own page."""
        return {"X-CSRFToken": self.session.cookies["visa-csrf"] or "", "Referer": self.visa.url}
