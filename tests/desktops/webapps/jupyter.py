"""A real JupyterLab on loopback, as the guest runs it, with one kernel running."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.servers import wait_until

TOKEN = "canary-jupyter-token-0123456789"

CONFIGURATION = """
c.ServerApp.ip = "127.0.0.1"
c.ServerApp.port = {port}
c.ServerApp.port_retries = 0
c.ServerApp.open_browser = False
c.ServerApp.allow_root = True
c.ServerApp.allow_remote_access = True
c.ServerApp.root_dir = {root!r}
c.IdentityProvider.token = {token!r}
c.LabApp.check_for_updates_class = "jupyterlab.NeverCheckForUpdate"
c.LabApp.news_url = None
c.ServerApp.jpserver_extensions = {{"jupyter_lsp": False}}
c.YDocExtension.disable_rtc = {alone!r}
import sys
sys.path.insert(0, {ours!r})
from visa_identity import PersonOfProxy
c.ServerApp.identity_provider_class = PersonOfProxy
"""
OURS = Path(__file__).parents[3] / "guest" / "files-full" / "usr" / "lib" / "visa"


@dataclass
class Jupyter:
    port: int
    root: Path
    process: subprocess.Popen[bytes]

    kernel: str = ""

    def ask(self, path: str, data: bytes | None = None) -> bytes:
        headers = {"Authorization": f"token {TOKEN}"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, headers)
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - our own
            body: bytes = answer.read()
            return body

    def answers(self) -> bool:
        try:
            return bool(self.ask("/api"))
        except OSError:
            return False


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


@contextmanager
def jupyterlab(home: Path, *, shared: bool = False) -> Iterator[Jupyter]:
    """A JupyterLab that ends with the block, at home in an empty folder; `shared`: several edit one notebook."""
    port, root = free_port(), home / "work"
    root.mkdir()
    configuration = home / "jupyter_server_config.py"
    facts = {"port": port, "root": str(root), "token": TOKEN, "alone": not shared, "ours": str(OURS)}
    configuration.write_text(CONFIGURATION.format(**facts))
    folders = {"HOME": str(home), "JUPYTER_CONFIG_DIR": str(home / "config"), "JUPYTER_RUNTIME_DIR": str(home / "run")}
    folders |= {"JUPYTER_DATA_DIR": str(home / "data"), "IPYTHONDIR": str(home / "ipython")}
    command = [
        str(Path(sys.executable).parent / "jupyter-lab"),
        f"--config={configuration}",
    ]
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            command, env=os.environ | folders, cwd=home, stdout=log, stderr=log, start_new_session=True
        )
    running = Jupyter(port, root, process)
    try:
        wait_until(running.answers, f"JupyterLab ({home}/log)", patience=90)
        running.kernel = json.loads(running.ask("/api/kernels", b"{}"))["id"]
        yield running
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()


def notebook(folder: Path, name: str, *sources: str) -> None:
    (folder / name).write_text(json.dumps(notebook_of(*sources)))


def notebook_of(*sources: str) -> dict[str, Any]:
    """One of Python, with these cells, none of which has run."""
    empty: dict[str, Any] = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
    cells = [empty | {"source": source, "id": f"cell-{at}"} for at, source in enumerate(sources)]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return {"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
