"""A real JupyterLab through the whole site: pages, files, kernels, terminals, and who may do what."""

from __future__ import annotations

import asyncio
import json
from itertools import pairwise
from typing import Any
from uuid import uuid4

import aiohttp
import pytest

from desktops.webapps import kernels, visits
from desktops.webapps.kernels import V1
from experiments.models import User
from instances.kernels import hear_kernels_of
from instances.models import Instance, Member, MemberRole
from tests.desktops.conftest import in_database
from tests.desktops.webapps.conftest import Grounds
from tests.desktops.webapps.jupyter import TOKEN, Jupyter
from tests.desktops.webapps.test_tunnel import running
from tests.people import client_of

PATIENCE = 60.0
SOON = 8.0
"""Seconds that a loaded test machine may take for what takes well under a second on an idle one."""


@pytest.fixture
def channels(lab: Jupyter) -> str:
    return f"/api/kernels/{lab.kernel}/channels"


def message(kind: str, content: dict[str, Any] | None = None) -> dict[str, Any]:
    header = {"msg_id": str(uuid4()), "msg_type": kind, "session": "tests", "username": "", "version": "5.3"}
    return {
        "channel": "shell",
        "header": header | {"date": "2026-01-01T00:00:00Z"},
        "parent_header": {},
        "metadata": {},
        "content": content or {},
        "buffers": [],
    }


def run(code: str) -> dict[str, Any]:
    return message("execute_request", {"code": code, "silent": False, "store_history": True, "allow_stdin": False})


def on_the_wire(said: dict[str, Any], protocol: str | None) -> bytes | str:
    parts = [said[name] for name in ("header", "parent_header", "metadata", "content")]
    return kernels._v1(said["channel"], parts) if protocol == V1 else json.dumps(said)


def heard(data: bytes | str) -> dict[str, Any]:
    """Kind, content and whose answer a message of a kernel is."""
    if isinstance(data, str):
        whole = json.loads(data)
        return {"kind": whole["header"]["msg_type"], "content": whole["content"], "parent": whole["parent_header"]}
    count = int.from_bytes(data[:8], "little")
    offsets = [int.from_bytes(data[8 * i + 8 : 8 * i + 16], "little") for i in range(count)]
    parts = [data[a:b] for a, b in pairwise(offsets)]
    return {
        "kind": json.loads(parts[1])["msg_type"],
        "parent": json.loads(parts[2]),
        "content": json.loads(parts[4]),
    }


async def say(socket: aiohttp.ClientWebSocketResponse, said: dict[str, Any]) -> None:
    wire = on_the_wire(said, socket.protocol)
    await (socket.send_str(wire) if isinstance(wire, str) else socket.send_bytes(wire))


async def until(socket: aiohttp.ClientWebSocketResponse, kind: str, **content: Any) -> dict[str, Any]:
    """The next message of this kind, with this in its content."""
    async with asyncio.timeout(PATIENCE):
        while True:
            got = await socket.receive()
            assert got.type in {aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY}, got
            one = heard(got.data)
            if one["kind"] == kind and content.items() <= one["content"].items():
                return one


async def closed(socket: aiohttp.ClientWebSocketResponse, patience: float = SOON) -> int | None:
    async with asyncio.timeout(patience):
        while (await socket.receive()).type in {aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY}:
            pass
    return socket.close_code


async def test_the_owner_gets_jupyterlab_without_its_token(at_lab: Grounds) -> None:
    asked = {"Accept-Encoding": "gzip"}
    async with at_lab.browsing(at_lab.people.alice) as browser, browser.get("/lab", headers=asked) as answer:
        page = await answer.text()
        assert answer.status == 200
        assert "jupyter-config-data" in page
        assert TOKEN not in page + str(answer.headers)
        assert "username-" not in str(answer.headers.getall("Set-Cookie", []))


async def test_files_go_up_and_come_back_and_in_parts(at_lab: Grounds) -> None:
    text = "".join(f"line {i}\n" for i in range(1000))
    async with at_lab.browsing(at_lab.people.alice) as browser:
        body = {"type": "file", "format": "text", "content": text}
        async with browser.ask("PUT", "/api/contents/lines.txt", json=body) as answer:
            assert answer.status == 201
        async with browser.get("/files/lines.txt") as answer:
            assert await answer.text() == text
        async with browser.get("/files/lines.txt", headers={"Range": "bytes=5-9"}) as answer:
            assert (answer.status, await answer.text()) in ((206, text[5:10]), (200, text))


@pytest.mark.parametrize("protocols", [[V1], []])
async def test_a_cell_runs_in_both_protocols(at_lab: Grounds, channels: str, protocols: list[str]) -> None:
    async with at_lab.browsing(at_lab.people.bob) as browser, browser.socket(channels, protocols=protocols) as socket:
        assert socket.protocol == (V1 if protocols else None)
        await say(socket, run("print(6 * 7)"))
        assert (await until(socket, "stream"))["content"]["text"] == "42\n"


async def test_a_large_message_goes_both_ways(at_lab: Grounds, channels: str) -> None:
    """Above what the site's own sockets take: a cell with data in it, and its output."""
    async with at_lab.browsing(at_lab.people.alice) as browser, browser.socket(channels, protocols=[V1]) as socket:
        await say(socket, run(f"s = '{'x' * 2_000_000}'; s[:1_500_000]"))
        result = await until(socket, "execute_result")
        assert len(result["content"]["data"]["text/plain"]) > 1_500_000


async def test_a_terminal_opens_for_whoever_controls(at_lab: Grounds) -> None:
    async with at_lab.browsing(at_lab.people.bob) as browser:
        async with browser.ask("POST", "/api/terminals") as answer:
            name = (await answer.json())["name"]
        async with browser.socket(f"/terminals/websocket/{name}") as socket:
            await socket.send_str(json.dumps(["stdin", "echo $((40 + 2))x\r"]))
            seen = ""
            async with asyncio.timeout(PATIENCE):
                while "42x" not in seen:
                    seen += str((await socket.receive_json())[1:])
        async with browser.ask("DELETE", f"/api/terminals/{name}") as answer:
            assert answer.status == 204


@pytest.mark.parametrize("protocols", [[V1], []])
async def test_a_guest_sees_what_runs_and_runs_nothing(at_lab: Grounds, channels: str, protocols: list[str]) -> None:
    """Nor does the guest take the owner's socket away by naming the same session."""
    async with (
        at_lab.browsing(at_lab.people.alice) as owner,
        at_lab.browsing(at_lab.gwen) as guest,
        owner.socket(f"{channels}?session_id=same", protocols=[V1]) as alices,
        guest.socket(f"{channels}?session_id=same", protocols=protocols) as gwens,
    ):
        await say(gwens, run("open('gwen-was-here', 'w')"))
        await say(gwens, message("shutdown_request", {"restart": False}))
        await say(gwens, message("kernel_info_request"))
        await until(gwens, "kernel_info_reply")
        await say(alices, run("import os; os.path.exists('gwen-was-here')"))
        for socket in (alices, gwens):
            assert (await until(socket, "execute_result"))["content"]["data"]["text/plain"] == "False"


GUESTS = [
    ("GET", "/lab", 200),
    ("GET", "/api/contents", 200),
    ("GET", "/api/kernels", 200),
    ("GET", "/api/sessions", 200),
    ("GET", "/api/kernelspecs", 200),
    ("GET", "/api/terminals", 200),
    ("GET", "/lab/api/settings", 200),
    ("HEAD", "/api/status", 405),  # Jupyter's own answer
    ("PUT", "/api/contents/x.txt", 403),
    ("POST", "/api/contents", 403),
    ("PATCH", "/api/contents/lines.txt", 403),
    ("DELETE", "/api/contents/lines.txt", 403),
    ("POST", "/api/kernels", 403),
    ("POST", "/api/sessions", 403),
    ("POST", "/api/terminals", 403),
    ("POST", "/api/shutdown", 403),
    ("PUT", "/lab/api/workspaces/default", 403),
    ("GET", "/nbconvert/html/x.ipynb", 403),
    ("GET", "/files/../api/shutdown", 403),
    ("GET", "/files/%2e%2e/secret", 403),
    ("GET", "/proxy/9999/", 403),
    ("GET", "/%6cab", 403),
    ("OPTIONS", "/api/contents", 403),
]


async def test_what_a_guest_may_ask(at_lab: Grounds) -> None:
    async with at_lab.browsing(at_lab.gwen) as browser:
        got = []
        for method, path, _status in GUESTS:
            async with browser.ask(method, path) as answer:
                got.append((method, path, answer.status))
        assert got == GUESTS


@pytest.mark.parametrize(
    "path",
    [
        "/terminals/websocket/1",
        "/lsp/ws/pyright",
        "/api/collaboration/room/x",
        "/api/collaboration/room/json:notebook:..",
        "/",
    ],
)
async def test_a_guest_opens_no_other_socket(at_lab: Grounds, path: str) -> None:
    async with at_lab.browsing(at_lab.gwen) as browser:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await browser.socket(path)
        assert refused.value.status == 403


async def test_whoever_becomes_a_guest_runs_nothing_more(at_lab: Grounds, channels: str) -> None:
    async with at_lab.browsing(at_lab.people.bob) as browser:
        async with browser.socket(channels, protocols=[V1]) as socket:
            await say(socket, run("1"))
            await until(socket, "execute_reply")
            await in_database(demote, at_lab, at_lab.people.bob)
            assert await closed(socket) == 4403
        async with browser.socket(channels, protocols=[V1]) as again:
            await say(again, run("open('bob-was-here', 'w')"))
            await say(again, message("kernel_info_request"))
            await until(again, "kernel_info_reply")
        async with browser.get("/api/contents/bob-was-here") as answer:
            assert answer.status == 404


def demote(at_lab: Grounds, user: User) -> None:
    member = Member.objects.get(instance=at_lab.people.machine, user=user)
    member.role = MemberRole.GUEST
    member.save()


async def test_work_in_a_notebook_is_use_and_looking_is_not(at_lab: Grounds, channels: str) -> None:
    async with at_lab.browsing(at_lab.people.alice) as browser:
        async with browser.socket(channels, protocols=[V1]) as socket:
            await say(socket, message("kernel_info_request"))
            await until(socket, "kernel_info_reply")
        await running(most=0)
        visit = next(iter(visits._visits.values()))
        assert visit.inputs == 0
        async with browser.socket(channels, protocols=[V1]) as socket:
            await say(socket, run("1"))
            await until(socket, "execute_reply")
        await running(most=0)
        assert visit.inputs == 1
        await visit.stop()
    assert (await in_database(Instance.objects.get, uuid=at_lab.uuid)).last_used_at is not None


async def test_a_busy_notebook_keeps_its_machine_awake_and_is_shown(at_lab: Grounds, lab: Jupyter) -> None:
    """Asked as production asks: a cell that sleeps needs no processor. Looking at the notebook is no work."""
    notebook = {"path": "waits.ipynb", "name": "waits.ipynb", "type": "notebook", "kernel": {"name": "python3"}}
    async with at_lab.browsing(at_lab.people.alice) as browser:
        async with browser.ask("POST", "/api/sessions", json=notebook) as answer:
            ident = (await answer.json())["kernel"]["id"]
        async with browser.socket(f"/api/kernels/{ident}/channels", protocols=[V1]) as socket:
            await say(socket, message("kernel_info_request"))
            await until(socket, "kernel_info_reply")
            assert await in_database(looked, at_lab) == ("", "idle for 1 minute")
            await say(socket, run("import time; time.sleep(1000)"))
            await comes_to(at_lab, "waits.ipynb", "busy for 1 minute")
            async with browser.ask("POST", f"/api/kernels/{ident}/interrupt") as answer:
                assert answer.status == 204
            await comes_to(at_lab, "", "idle for 1 minute")
        async with browser.ask("DELETE", f"/api/kernels/{ident}") as answer:
            assert answer.status == 204


async def comes_to(at_lab: Grounds, job: str, kernel: str) -> None:
    """What a kernel's socket says may be of an earlier message: only what is looked at is waited for."""
    async with asyncio.timeout(PATIENCE):
        while await in_database(looked, at_lab) != (job, kernel):  # noqa: ASYNC110 - Jupyter rings no bell
            await asyncio.sleep(0.1)


def looked(at_lab: Grounds) -> tuple[str, str]:
    """The notebook that computes, and what the page says of waits.ipynb, after JupyterLab was asked."""
    hear_kernels_of(at_lab.people.host.pk)
    page = client_of(at_lab.people.alice).get(f"/machines/{at_lab.uuid}/time/").content.decode()
    said = page.split("waits.ipynb</span>")[1].split(">")[1].split("<")[0]
    return Instance.objects.get(uuid=at_lab.uuid).kernel, said
