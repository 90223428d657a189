"""What `GET /health/` says when parts are missing, with real Redis and database."""

import asyncio
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection
from django.test import AsyncClient

from instances import alive
from tests.servers import RedisServer
from visa_site import health

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def everyone_lives(redis: RedisServer) -> None:
    for name in health.PROCESSES:
        alive.mark(name)


async def ask() -> Any:
    return await AsyncClient().get("/health/")


async def test_it_is_200_when_all_live() -> None:
    answer = await ask()
    assert (answer.status_code, answer.json()) == (200, {"healthy": True, "missing": []})


@pytest.mark.parametrize("name", ["worker", "beat", "observer"])
async def test_a_process_never_seen_is_named(name: str) -> None:
    cache.delete(f"alive:{name}")
    answer = await ask()
    assert answer.status_code == 503
    assert name in answer.json()["missing"][0]
    assert len(answer.json()["missing"]) == 1


async def test_a_process_seen_too_long_ago_is_named_with_the_time() -> None:
    cache.set("alive:observer", time.time() - 20)
    answer = await ask()
    assert answer.status_code == 503
    assert "observer" in answer.json()["missing"][0]
    assert "20 seconds ago" in answer.json()["missing"][0]


async def test_a_redis_that_died_is_named_and_found_again(redis: RedisServer) -> None:
    redis.kill()
    try:
        answer = await ask()
    finally:
        redis.start()
    assert answer.status_code == 503
    assert "Redis does not answer" in answer.json()["missing"][0]
    for name in health.PROCESSES:
        alive.mark(name)
    assert (await ask()).status_code == 200


async def test_a_redis_that_hangs_costs_about_a_second(redis: RedisServer) -> None:
    assert redis.process is not None
    redis.process.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    try:
        answer = await asyncio.wait_for(ask(), 10)
    finally:
        redis.process.send_signal(signal.SIGCONT)
    assert answer.status_code == 503
    assert "Redis did not answer" in answer.json()["missing"][0]
    assert time.monotonic() - began < 3


async def test_a_database_that_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    if connection.vendor == "postgresql":
        pytest.skip("a pool keeps its connections, whatever the settings become")
    for name in ("NAME", "HOST"):
        monkeypatch.setitem(connection.settings_dict, name, "/nowhere/at/all")
    with ThreadPoolExecutor() as threads:  # whose connection is not made yet
        monkeypatch.setattr(health, "_threads", threads)
        answer = await ask()
    assert answer.status_code == 503
    assert answer.json()["missing"] == ["The database does not answer."]


async def test_asking_needs_no_session_and_leaves_none() -> None:
    answer = await ask()
    assert not answer.cookies
    assert "no-store" in answer["Cache-Control"]


def test_a_sign_of_life_without_redis_does_not_stop_the_living(redis: RedisServer) -> None:
    redis.kill()
    try:
        alive.mark("worker")
    finally:
        redis.start()
    assert alive.age("nobody") is None
    alive.mark("worker")
    seen = alive.age("worker")
    assert seen is not None
    assert seen < 2


def test_signs_of_an_earlier_run_can_be_dropped() -> None:
    alive.forget("worker", "beat")
    assert (alive.age("worker"), alive.age("beat")) == (None, None)
    assert alive.age("observer") is not None
