"""What a JupyterLab says of its kernels is read, and nothing it says is believed blindly."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from instances import jupyter
from instances.jupyter import MOST_BYTES, MOST_KERNELS, Lab, Nonsense, Told, ask_all, kernels_of

KERNEL = {"id": "a-1", "name": "python3", "last_activity": "2026-03-01T12:00:00Z", "execution_state": "idle"}
SESSION = {"type": "notebook", "path": "scans/fit.ipynb", "name": "fit.ipynb", "kernel": {"id": "a-1"}}


def test_a_kernel_is_told_with_its_notebook() -> None:
    (told,) = kernels_of([KERNEL], [SESSION])
    assert told == Told("a-1", "scans/fit.ipynb", "python3", False, "2026-03-01T12:00:00Z")


@pytest.mark.parametrize(
    ("session", "notebook"),
    [
        (SESSION | {"path": "RTC:fit.ipynb"}, "fit.ipynb"),
        (SESSION | {"type": "console", "name": "Console 1"}, "Console 1"),
        (SESSION | {"kernel": {"id": "other"}}, ""),
        (SESSION | {"path": "a\u202e\x00\nb\ud800.ipynb" + "x" * 999}, "ab.ipynb" + "x" * 192),
        ("a session", ""),
    ],
)
def test_what_a_session_says_names_the_kernel(session: Any, notebook: str) -> None:
    assert kernels_of([KERNEL], [session])[0].notebook == notebook


@pytest.mark.parametrize(("state", "busy"), [("busy", True), ("idle", False), ("starting", False), (["busy"], False)])
def test_only_what_computes_is_busy(state: Any, busy: bool) -> None:
    assert kernels_of([KERNEL | {"execution_state": state}], [])[0].busy is busy


def test_a_kernel_that_is_named_twice_is_one() -> None:
    assert len(kernels_of([KERNEL, KERNEL], [])) == 1


def test_of_a_thousand_kernels_the_busy_ones_are_kept() -> None:
    many = [KERNEL | {"id": str(n), "execution_state": "busy" if n > 990 else "idle"} for n in range(1000)]
    told = kernels_of(many, [])
    assert len(told) == MOST_KERNELS
    assert sum(one.busy for one in told) == 9


@pytest.mark.parametrize("kernels", [{"id": "a-1"}, None, "[]", 7])
def test_what_is_no_list_is_no_answer(kernels: object) -> None:
    with pytest.raises(Nonsense):
        kernels_of(kernels, [])


@pytest.mark.parametrize("kernel", [{}, {"id": None}, {"id": {"id": "x"}}, [], None, "a-1"])
def test_what_has_no_name_is_no_kernel(kernel: object) -> None:
    assert kernels_of([kernel], []) == []


# Over the network

Behaviour = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def guest(behaviour: Behaviour) -> AsyncIterator[Lab]:
    runner = web.ServerRunner(web.Server(behaviour), shutdown_timeout=0.1)  # type: ignore[arg-type]
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield Lab("127.0.0.1", runner.addresses[0][1], "secret")
    await runner.cleanup()


async def usual(request: web.Request) -> web.Response:
    assert request.headers["Authorization"] == "token secret"
    return web.json_response([KERNEL] if request.path == "/api/kernels" else [SESSION])


async def large(_request: web.Request) -> web.Response:
    return web.Response(body=b"[" + b" " * MOST_BYTES + b"]")


async def deep(_request: web.Request) -> web.Response:
    return web.Response(body=b"[" * 200_000)


async def packed(_request: web.Request) -> web.Response:
    return web.Response(body=b"[]", headers={"Content-Encoding": "gzip"})


async def elsewhere(_request: web.Request) -> web.Response:
    raise web.HTTPFound("http://127.0.0.1:1/")


async def refusing(_request: web.Request) -> web.Response:
    return web.json_response([], status=403)


async def never(_request: web.Request) -> web.Response:
    await asyncio.sleep(600)
    return web.Response()


async def trickling(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse()
    await answer.prepare(request)
    while True:
        await answer.write(b" ")
        await asyncio.sleep(0.02)


async def test_one_that_answers_is_heard_beside_others_that_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jupyter, "PATIENCE", 0.5)
    gone = Lab("127.0.0.1", 1, "secret")
    async with guest(usual) as good, guest(never) as silent, guest(trickling) as slow:
        begun = time.monotonic()
        answers = await ask_all([silent, good, slow, gone])
    assert answers == [None, kernels_of([KERNEL], [SESSION]), None, None]
    assert time.monotonic() - begun < 3


@pytest.mark.parametrize("behaviour", [large, deep, elsewhere, refusing])
async def test_a_hostile_answer_is_none(behaviour: Behaviour) -> None:
    async with guest(behaviour) as lab:
        assert await ask_all([lab]) == [None]


async def test_what_is_packed_is_not_unpacked() -> None:
    async with guest(packed) as lab:
        assert await ask_all([lab]) == [[]]


def test_the_token_is_in_no_log() -> None:
    assert "secret" not in repr(Lab("host", 1, "secret"))
