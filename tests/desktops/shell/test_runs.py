"""Notebook runs through the whole site, a real SSH server and papermill: what they give, and what cannot hurt them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import asyncssh
import pytest
from django.utils import timezone

from desktops import following, notebooks
from desktops.models import Connection, NotebookRun, Which
from desktops.shell.runs import agree
from experiments.models import User
from instances.models import ImageProtocol, Instance, Member, Plan, Protocol
from instances.states import State
from tests.desktops.conftest import House, in_database
from tests.desktops.machines import Silent, listening
from tests.desktops.shell.guest import Guest
from tests.desktops.shell.test_files import drained, owned
from tests.desktops.test_endpoint import until_async
from tests.people import image, machine
from visa_site.tokens import issue

GUIDE = (Path(__file__).parents[3] / "docs/api.md").read_text()
ENDED = {"done", "failed", "stopped", "interrupted"}
PAPERMILL = 120.0
"""Seconds in which a run must be where it is awaited: papermill and its kernel start slowly on a busy host."""

WAITS = "import os, time\nopen('begun', 'a').write('x')\nwhile not os.path.exists('go'): time.sleep(0.05)"
"""A cell that notes that it ran, and goes on when it is told."""


def notebook(*cells: str, tagged: str = "") -> bytes:
    """A notebook of code cells, the first of them tagged as its parameters where there is one."""
    tags: list[tuple[str, list[str]]] = [(tagged, ["parameters"])] if tagged else []
    made: list[dict[str, Any]] = [
        {"cell_type": "code", "execution_count": None, "id": f"c{n}", "metadata": {"tags": tag}, "outputs": []}
        | {"source": source}
        for n, (source, tag) in enumerate([*tags, *((cell, []) for cell in cells)])
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return json.dumps({"cells": made, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}).encode()


class Program:
    """Somebody's program before the API, with a worker that rings as beat does."""

    def __init__(self, session: aiohttp.ClientSession, house: House) -> None:
        self.session = session
        self.base = f"http://127.0.0.1:{house.port}/api/v1/instances/{house.uuid}/runs/"

    async def ask(self, method: str, path: str = "", **asked: Any) -> tuple[int, Any]:
        async with self.session.request(method, self.base + path, json=asked or None) as answer:
            return answer.status, await answer.json(content_type=None)

    async def start(self, path: str, **asked: Any) -> str:
        status, said = await self.ask("POST", notebook=path, **asked)
        assert status == 201, said
        return str(said["uuid"])

    async def becomes(self, run: str, *states: str) -> Any:
        """The run, once it is in one of these states."""
        async with asyncio.timeout(PAPERMILL):
            while True:
                await worked()
                said = (await self.ask("GET", f"{run}/"))[1]
                if said["state"] in states:
                    return said
                await asyncio.sleep(0.2)  # each look is a connection

    async def result(self, run: str) -> str:
        async with self.session.get(f"{self.base}{run}/result/") as answer:
            assert answer.status == 200, await answer.text()
            assert "sandbox" in answer.headers["Content-Security-Policy"]
            return await answer.text()


async def worked() -> None:
    """A worker looks at all runs, whether they are due or not."""

    def work() -> None:
        NotebookRun.objects.update(due_at=timezone.now())
        following.follow()

    await in_database(work)


@asynccontextmanager
async def programming(house: House, user: User) -> AsyncIterator[Program]:
    token = (await in_database(issue, user))[1]
    headers = {"Authorization": f"Token {token}", "Host": "localhost:8000"}
    async with aiohttp.ClientSession(headers=headers) as session:
        yield Program(session, house)


@pytest.fixture
async def alice(wired: House) -> AsyncIterator[Program]:
    """Her program; the machine has room for several runs."""
    await in_database(Instance.objects.filter(uuid=wired.uuid).update, vcpus=4)
    async with programming(wired, wired.people.alice) as program:
        yield program


@pytest.fixture
def lab(guest: Guest, request: pytest.FixtureRequest) -> Path:
    """A folder of the test's own in the home."""
    return owned(guest.machine.folder / "home/mcurie" / request.node.originalname, None)


def processes(run: str) -> list[int]:
    found = subprocess.run(["pgrep", "-f", f"run-notebook .*{run.replace('-', '')}"], capture_output=True, check=False)
    return [int(pid) for pid in found.stdout.split()]


def children(pid: int) -> list[int]:
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, check=False)
    return [int(child) for child in found.stdout.split()]


async def test_a_notebook_runs_with_parameters_that_no_shell_reads_and_its_result_is_fetched(
    alice: Program, guest: Guest, lab: Path
) -> None:
    name = "fit {n}; $(touch pwned) `id` 'q\".ipynb"
    hostile = "\"; import os; os.mkdir('pwned') # $(touch pwned) \\ {n}\n"
    owned(lab / "factor.txt", b"7")
    cell = "print('gives', n * int(open('factor.txt').read()), text == given['text'], sorted(given['more']))"
    owned(lab / name, notebook(cell, tagged="n = 0\ntext = ''\ngiven = {}"))
    asked = {"n": 6, "text": hostile, "given": {"text": hostile, "more": [1, 0.5, True]}}
    run = await alice.start(f"{lab.name}/{name}", parameters=asked)
    said = await alice.becomes(run, *ENDED)
    assert (said["state"], said["problem"], said["cells_done"], said["cells"]) == ("done", "", 3, 3)
    assert said["parameters"] == asked
    assert "gives 42 True [0.5, 1, True]" in await alice.result(run)
    await until_async(lambda: in_database(Connection.objects.filter(which=Which.FILES).exists))
    assert (guest.machine.folder / said["output"][1:]).parent == lab
    assert set(os.listdir(lab)) == {"factor.txt", name, Path(said["output"]).name}
    jobs = [path.read_text() for path in (guest.machine.folder / "run/visa-busy").glob("job.*")]
    assert f"{name}\n" in jobs


async def test_a_failing_cell_ends_the_run_with_its_words_and_what_was_done(alice: Program, lab: Path) -> None:
    owned(lab / "bad.ipynb", notebook("print('first')", "1 / 0", "print('never')"))
    run = await alice.start(f"{lab.name}/bad.ipynb", output=f"{lab.name}/out.ipynb")
    said = await alice.becomes(run, *ENDED)
    assert (said["state"], said["problem"]) == ("failed", "ZeroDivisionError: division by zero")
    assert '"first\\n"' in await alice.result(run)
    assert (await alice.ask("POST", f"{run}/stop/"))[1]["state"] == "failed"


async def test_a_worker_that_dies_and_connections_that_are_cut_lose_and_repeat_nothing(
    alice: Program, wired: House, guest: Guest, lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owned(lab / "long.ipynb", notebook(WAITS))
    run = await alice.start(f"{lab.name}/long.ipynb")
    # A worker had it begin, and died before it wrote so; another was cut off while it asked.
    rows = (await in_database(following.take, timezone.now()))[0]
    await agree(guest.shell, following.wanted(rows))
    connected, connect = asyncio.Event(), asyncssh.connect

    async def connecting(*args: Any, **kwargs: Any) -> asyncssh.SSHClientConnection:
        made = await connect(*args, **kwargs)
        connected.set()
        return made

    monkeypatch.setattr(asyncssh, "connect", connecting)
    cut = asyncio.create_task(agree(guest.shell, following.wanted(rows)))
    await connected.wait()
    cut.cancel()
    await asyncio.gather(cut, return_exceptions=True)
    assert await in_database(following.take, timezone.now()) == []
    assert (await in_database(NotebookRun.objects.get)).state == "waiting"
    assert (await alice.becomes(run, "running"))["ended_at"] is None
    owned(lab / "go")
    assert (await alice.becomes(run, *ENDED))["state"] == "done"
    assert (lab / "begun").read_text() == "x"


async def test_a_run_is_stopped_with_its_kernel_and_one_that_is_cut_off_says_so(alice: Program, lab: Path) -> None:
    runs = []
    for name in ("stopped", "cut"):
        owned(lab / f"{name}/nb.ipynb", notebook("print('early')", WAITS))
        os.chown(lab / name, *owner(lab))
        runs.append(await alice.start(f"{lab.name}/{name}/nb.ipynb"))
    for run, name in zip(runs, ("stopped", "cut"), strict=True):
        await alice.becomes(run, "running")
        await until_async(lambda name=name: asyncio.to_thread((lab / name / "begun").exists))  # type: ignore[misc]
    stopped, cut = runs
    (first,), (second,) = processes(stopped), processes(cut)
    kernels = [*children(first), *children(second)]
    assert len(kernels) == 2
    assert (await alice.ask("POST", f"{stopped}/stop/"))[1]["stopping"] is True
    os.kill(second, signal.SIGKILL)
    assert (await alice.becomes(stopped, *ENDED))["state"] == "stopped"
    said = await alice.becomes(cut, *ENDED)
    assert (said["state"], said["problem"]) == ("interrupted", following.CUT_OFF)
    await until_async(lambda: asyncio.to_thread(lambda: not any(alive(kernel) for kernel in kernels)))
    assert '"early\\n"' in await alice.result(stopped)


def owner(path: Path) -> tuple[int, int]:
    return path.stat().st_uid, path.stat().st_gid


def alive(pid: int) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return b") Z " not in Path(f"/proc/{pid}/stat").read_bytes()
    return False


REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("notebook", {"notebook": "nothing.ipynb"}),
    ("notebook", {"notebook": "text.txt"}),
    ("notebook", {"notebook": "text.ipynb"}),
    ("notebook", {"notebook": "list.ipynb"}),
    ("notebook", {"notebook": "folder.ipynb"}),
    ("notebook", {"notebook": "out.ipynb"}),
    ("notebook", {"notebook": "../../../etc/passwd"}),
    ("notebook", {"notebook": "/etc/passwd"}),
    ("notebook", {"notebook": "a\0b.ipynb"}),
    ("notebook", {"notebook": "x" * 300 + ".ipynb"}),
    ("notebook", {"notebook": "x/" * 2100 + ".ipynb"}),
    ("notebook", {"notebook": ""}),
    ("notebook", {"notebook": 7}),
    ("output", {"output": "good.ipynb"}),
    ("output", {"output": "good.txt"}),
    ("output", {"output": "/tmp/out.ipynb"}),  # noqa: S108 - it lies outside
    ("output", {"output": "nowhere/out.ipynb"}),
    ("output", {"output": "x" * 300 + ".ipynb"}),
    ("parameters", {"parameters": [1]}),
    ("parameters", {"parameters": None}),
    ("parameters", {"parameters": {"a b": 1}}),
    ("parameters", {"parameters": {"x = 1; import os #": 1}}),
    ("parameters", {"parameters": {"x": "y" * 40_000}}),
    ("parameters", {"parameters": {"x": "\0"}}),
    ("parameters", {"parameters": {"x": "\ud800"}}),
    ("parameters", {"parameters": {"\ud800": 1}}),
    ("notebook", {"notebook": "many.ipynb"}),
    ("notebook", {"notebook": "shut.ipynb"}),
    ("parameters", {"parameters": {"x": json.loads("[" * 30 + "]" * 30)}}),
    ("request_key", {"request_key": "once"}),
]


async def test_what_is_wrong_is_said_at_its_field_and_nothing_is_begun(alice: Program, guest: Guest, lab: Path) -> None:
    owned(lab / "good.ipynb", notebook("1"))
    owned(lab / "text.txt", notebook("1"))
    owned(lab / "text.ipynb", b"print(1)")
    owned(lab / "list.ipynb", b'[{"cells": []}]')
    owned(lab / "folder.ipynb", None)
    owned(lab / "many.ipynb", b'{"metadata": {}, "cells": [' + b"[]," * notebooks.MOST_VALUES + b"[]]}")
    owned(lab / "shut.ipynb", notebook("1")).chmod(0)
    (lab / "out.ipynb").symlink_to("/etc/hostname")
    for field, wrong in REFUSED:
        asked = {name: within(lab, name, value) for name, value in ({"notebook": "good.ipynb"} | wrong).items()}
        status, said = await alice.ask("POST", **asked)
        assert (status, list(said)) == (400, [field]), (wrong, said)
    assert await in_database(NotebookRun.objects.count) == 0
    run = await alice.start(f"{lab.name}/good.ipynb", output=f"{lab.name}/once.ipynb")
    again = await alice.ask("POST", notebook=f"{lab.name}/good.ipynb", output=f"{lab.name}/once.ipynb")
    assert (again[0], list(again[1])) == (400, ["output"])
    # It came after the run was asked for, and stays.
    await guest.shell.ask("alice", f"printf mine > {lab.name}/once.ipynb", b"", 10)
    assert (await alice.becomes(run, *ENDED))["problem"].startswith("FileExistsError")
    assert (lab / "once.ipynb").read_bytes() == b"mine"


def within(lab: Path, name: str, value: Any) -> Any:
    plain = name in {"notebook", "output"} and isinstance(value, str) and value and value[0] != "/"
    return f"{lab.name}/{value}" if plain else value


async def test_a_result_ends_with_the_right_to_it_and_is_never_what_lies_outside(wired: House, lab: Path) -> None:
    """SEC-05"""
    with owned(lab / "huge.ipynb").open("wb") as file:
        file.truncate(4 * 1024**3)
    (lab / "out.ipynb").symlink_to("/etc/hostname")
    places = [f"/home/mcurie/{lab.name}/{name}.ipynb" for name in ("huge", "out", "gone")]
    huge, *others = [str((await in_database(ended_run, wired, place)).uuid) for place in places]
    async with programming(wired, wired.people.bob) as bob:
        for run in others:
            assert (await bob.ask("GET", f"{run}/result/"))[0] == 409
        async with bob.session.get(f"{bob.base}{huge}/result/") as answer:
            await answer.content.readexactly(100_000)
            await in_database(lambda: Member.objects.get(user=wired.people.bob).delete())
            with pytest.raises(aiohttp.ClientPayloadError):
                await drained(answer)
        assert (await bob.ask("GET", f"{huge}/"))[0] == 404
    (lab / "huge.ipynb").unlink()


def ended_run(house: House, output: str) -> NotebookRun:
    return NotebookRun.objects.create(instance=house.people.machine, notebook="/x.ipynb", output=output, state="done")


async def test_the_same_wish_twice_is_one_run(alice: Program, lab: Path) -> None:
    owned(lab / "nb.ipynb", notebook("1"))
    asked = {"parameters": {"a": 1}, "request_key": str(uuid4())}
    assert await alice.start(f"{lab.name}/nb.ipynb", **asked) == await alice.start(f"{lab.name}/nb.ipynb", **asked)
    assert [run["state"] for run in (await alice.ask("GET"))[1]["results"]] == ["waiting"]


async def test_a_silent_machine_holds_up_no_other(
    alice: Program, wired: House, guest: Guest, lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "PATIENCE", 5.0)
    owned(lab / "nb.ipynb", notebook("1"))
    run = await alice.start(f"{lab.name}/nb.ipynb")
    asked = guest.machine.folder / "home/mcurie/.local/share/visa/runs" / run.replace("-", "") / "request"
    async with listening(Silent()) as silent:
        await in_database(a_run_at, wired, silent.port)
        working = asyncio.create_task(worked())
        await until_async(lambda: asyncio.to_thread(asked.exists))
        assert not working.done()
        await working
    heard, other = await in_database(lambda: list(NotebookRun.objects.order_by("pk")))
    assert other.state == "waiting"
    assert heard.due_at < other.due_at


def a_run_at(house: House, port: int) -> None:
    other = image("Other")
    ImageProtocol.objects.filter(image=other, kind=Protocol.SSH).update(port=port)
    plan = Plan.objects.create(image=other, flavour=house.people.small)
    silent = machine(house.people.bob, plan, house.people.host, state=State.ACTIVE, address="127.0.0.1")
    NotebookRun.objects.create(instance=silent, by=house.people.bob, notebook="/a.ipynb", output="/b.ipynb")


async def test_the_guides_example_works_as_it_is_written(alice: Program, wired: House, guest: Guest) -> None:
    owned(
        guest.machine.folder / "home/mcurie/fit.ipynb", notebook("print('chi', temperature)", tagged="temperature = 0")
    )
    token = (await in_database(issue, wired.people.alice))[1]
    script = "\n".join(re.findall(r"```bash\n(.*?)```", GUIDE, flags=re.S)).replace("sleep 5", "sleep 0.2")
    names = {"VISA": f"http://localhost:{wired.port}", "TOKEN": token, "MACHINE": str(wired.uuid)}
    program = await asyncio.create_subprocess_exec(
        *("bash", "-euo", "pipefail", "-c", script), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        cwd=guest.machine.folder / "tmp", env={"PATH": "/usr/bin:/bin", **names},
    )  # fmt: skip
    saying = asyncio.create_task(program.communicate())
    while not saying.done():
        await worked()
    assert program.returncode == 0, saying.result()
    assert "chi 4.2" in (guest.machine.folder / "tmp/result.ipynb").read_text()
