"""JupyterLab of a real machine: as a person's browser has it, and what of it is seen from elsewhere."""

from __future__ import annotations

import json
import os
import re
import subprocess
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import BrowserContext, Page

from tests.browser.lab import open_notebook
from tests.desktops.webapps.jupyter import notebook_of
from tests.flows.installation import Installation
from tests.flows.machine import inside

PATIENCE = 600_000
"""Milliseconds for whatever JupyterLab does: an emulated processor is ten to thirty times slower than a real one."""

PICTURES = Path(os.environ.get("VISA_PICTURES", "/nowhere"))


@dataclass
class Lab:
    """Alice's machine and her browser."""

    visa: Installation
    uuid: str
    browser: BrowserContext

    @property
    def origin(self) -> str:
        return f"http://{self.uuid}.localhost:{self.visa.port}"

    @property
    def machine(self) -> str:
        return f"{self.visa.url}/machines/{self.uuid}/"

    def page(self, address: str = "") -> Page:
        """A new page of Alice's, at JupyterLab if nowhere else."""
        page = self._patient_page()
        page.goto(address or f"{self.origin}/lab")
        if not address:
            page.locator("#jp-main-dock-panel").wait_for()
        return page

    def _patient_page(self) -> Page:
        """One on which JupyterLab, when it asks whether to wait longer, is told to."""
        page = self.browser.new_page()
        page.set_default_timeout(PATIENCE)
        slow = page.get_by_role("dialog").filter(has_text="The document is taking some time to load")
        page.add_locator_handler(slow, lambda asks: asks.get_by_role("button", name="Continue waiting").click())
        return page

    def write_notebook(self, name: str, *sources: str) -> None:
        """As if Alice had brought it along."""
        encoded = b64encode(json.dumps(notebook_of(*sources)).encode()).decode()
        inside(self.uuid, f"echo {encoded} | base64 -d > ~alice/{name}; chown alice: ~alice/{name}")

    def notebook(self, name: str, *sources: str) -> Page:
        """A new notebook with these cells, open in a page of its own with a kernel that answers."""
        self.write_notebook(name, *sources)
        page = self._patient_page()
        open_notebook(page, self.origin, name, PATIENCE)
        return page

    def on_disk(self, name: str) -> str:
        """The file as it lies in Alice's home in the machine at this moment."""
        return inside(self.uuid, f"cat ~alice/{name}")


def shot(page: Page, name: str) -> None:
    """A picture in light and one in dark, where somebody wants to look."""
    if PICTURES.is_dir():
        for scheme in ("dark", "light"):
            page.emulate_media(color_scheme=scheme)
            page.wait_for_timeout(2000)  # until JupyterLab has painted itself anew
            page.screenshot(path=PICTURES / f"{name}-{scheme}.png")


@contextmanager
def no_network(port: int) -> Iterator[None]:
    """What is open to this port breaks off on both sides, and nothing new is taken until the block ends."""
    rule = ["INPUT", "-p", "tcp", "--dport", str(port), "-j", "REJECT", "--reject-with", "tcp-reset"]
    subprocess.run(["iptables", "-w", "-I", *rule], check=True)
    subprocess.run(["ss", "-K", f"( sport = :{port} or dport = :{port} )"], check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["iptables", "-w", "-D", *rule], check=True)


class Memory:
    """The most that a process has had in memory since this was made."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        Path(f"/proc/{pid}/clear_refs").write_text("5")  # proc(5): the peak becomes what it is now
        self.before = self._peak()

    @property
    def grown(self) -> float:
        """MiB."""
        return self._peak() - self.before

    def _peak(self) -> float:
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text())
        assert found is not None
        return int(found[1]) / 1024
