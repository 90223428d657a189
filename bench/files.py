"""2 GiB up and down through the files page's own routes, before a real SSH server: what the web process takes for it.

Run: python -m bench.files (root, as the tests of the shell). The process is as production serves it.
"""

import http.client
import json
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from bench._site import Site, serving
from bench.relay import cpu_seconds
from bench.webapps import GIB, MIB, peak

PIECE = 4 * MIB
"""As the page cuts a file (static/js/files/uploads.js)."""

SIZE = 2 * GIB
TOKEN = "a" * 32
CONTENT = bytes(range(256)) * (PIECE // 256)


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="visa-bench-") as folder, ExitStack() as stack:
        home = Path(folder)

        def place(machine: Any) -> None:
            from tests.desktops.shell.guest import a_guest, put_behind  # noqa: PLC0415 - Django had to be set up first

            (home / "guest").mkdir()
            put_behind(machine, stack.enter_context(a_guest(home / "guest")))

        with serving(home, place) as site:
            person = Person(site)
            person.get("list/").read()
            for name, way in (("up", person.upload), ("down", person.download)):
                before, cpu, began = peak(site.pid, anew=True), cpu_seconds(site.pid), time.monotonic()
                way()
                took, cost = time.monotonic() - began, (cpu_seconds(site.pid) - cpu) / (SIZE / GIB)
                grown = peak(site.pid) - before
                print(
                    f"{name}: {SIZE / MIB / took:.0f} MiB/s, {cost:.1f} s of CPU a GiB, {grown:.0f} MiB of memory more"
                )
    return 0


class Person:
    """Alice's browser."""

    def __init__(self, site: Site) -> None:
        self._line = http.client.HTTPConnection("127.0.0.1", site.port, timeout=60)
        self._base = f"/machines/{site.machine}/files/"
        cookies = f"visa={site.session}; visa-csrf={TOKEN}"
        self._headers = {"Host": f"localhost:{site.port}", "Cookie": cookies, "X-CSRFToken": TOKEN}

    def get(self, what: str, **query: object) -> http.client.HTTPResponse:
        return self._ask("GET", what, None, query)

    def _ask(self, method: str, what: str, body: bytes | None, query: dict[str, object]) -> http.client.HTTPResponse:
        self._line.request(method, f"{self._base}{what}?{urlencode(query)}", body, self._headers)
        answer = self._line.getresponse()
        if answer.status != 200:
            raise RuntimeError(f"{answer.status}: {answer.read()[:200]!r}")
        return answer

    def upload(self) -> None:
        facts = {"path": "/home/mcurie", "name": "large", "size": SIZE, "modified": 0}
        for offset in range(0, SIZE, PIECE):
            said = json.load(self._ask("PUT", "upload/", CONTENT, facts | {"offset": offset}))
        assert said["done"]

    def download(self) -> None:
        answer = self.get("get/", path="/home/mcurie/large")
        for _ in range(0, SIZE, PIECE):
            assert answer.read(PIECE) == CONTENT


if __name__ == "__main__":
    sys.exit(main())
