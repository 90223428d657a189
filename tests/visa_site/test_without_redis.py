"""Redis goes away, or hangs: pages go on, and what is asked for is not lost."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from datetime import timedelta
from uuid import uuid4

import pytest
import redis as redis_library
from django.conf import settings
from django.core.cache import cache
from django.test import Client
from django.utils import timezone

from instances import tasks
from instances.models import Instance
from instances.states import State
from tests.people import PASSWORD, Facility, facility
from tests.servers import RedisServer
from visa_site.cache import LastingCache

pytestmark = pytest.mark.django_db(transaction=True)

PATIENCE = 5.0
"""Seconds that pressing Create may take at worst: one wait for the pages' news, one for the workers' bell."""


@pytest.fixture
def people() -> Facility:
    return facility()


@pytest.fixture(autouse=True)
def trust(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an earlier test found silent is asked again."""
    monkeypatch.setattr(LastingCache, "_silent_until", 0.0)


@pytest.fixture(params=["dead", "hanging"])
def outage(redis: RedisServer, request: pytest.FixtureRequest) -> Iterator[str]:
    assert redis.process is not None
    if request.param == "dead":
        redis.kill()
    else:
        redis.process.send_signal(signal.SIGSTOP)
    yield request.param
    end(redis)


def end(redis: RedisServer) -> None:
    if redis.process is None:
        redis.start()
    redis.process.send_signal(signal.SIGCONT)  # type: ignore[union-attr] # started above


def signed_in(people: Facility) -> Client:
    client = Client()
    client.force_login(people.bob)
    return client


def queued() -> int:
    return int(redis_library.Redis(unix_socket_path=settings.REDIS_SOCKET, db=0).llen("celery"))


def test_every_page_answers(people: Facility, outage: str) -> None:
    client = signed_in(people)
    for path in ("/", "/machines/new/", f"/machines/{people.machine.uuid}/", "/profile/", "/api/v1/instances/"):
        assert client.get(path).status_code == 200, path


def test_people_sign_in_and_out(people: Facility, outage: str) -> None:
    client = Client()
    answer = client.post("/accounts/login/", {"login": "bob", "password": PASSWORD})
    assert (answer.status_code, answer["Location"]) == (302, "/")
    assert client.post("/accounts/logout/").status_code == 302
    assert client.get("/").status_code == 302


def test_tries_to_sign_in_are_counted_all_the_same(people: Facility, outage: str) -> None:
    cache.add("tries", 1)
    cache.set("tries", 2)
    assert cache.get("tries") == 2
    assert cache.delete("tries")
    assert cache.get("tries") is None


def test_create_neither_hangs_nor_loses(people: Facility, outage: str, redis: RedisServer) -> None:
    client = signed_in(people)
    began = time.monotonic()
    answer = client.post("/machines/new/", wish(people))
    assert time.monotonic() - began < PATIENCE
    made = Instance.objects.get(owner=people.bob)
    assert answer["Location"] == f"/machines/{made.uuid}/"
    assert made.state == State.BUILDING
    end(redis)
    before = queued()
    Instance.objects.update(state_since=timezone.now() - tasks.RING_AGAIN - timedelta(seconds=1))
    tasks.sweep()
    assert queued() == before + 1


def wish(people: Facility) -> dict[str, object]:
    return {
        "experiments": [str(people.experiment.uuid)],
        "image": str(people.image.uuid),
        "flavour": str(people.small.uuid),
        "screen": "1440x900",
        "keyboard": "us",
        "request_key": str(uuid4()),
    }
