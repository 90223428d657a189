"""The worker and beat as they really run: they show that they live, and outlive their Redis."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.core.cache import cache

from instances import alive
from tests.servers import RedisServer, wait_until
from visa_site.celery import app

ROOT = Path(__file__).resolve().parents[2]
BOTH = ("worker", "beat")


@pytest.fixture
def worker_and_beat(redis: RedisServer, tmp_path: Path) -> Iterator[Path]:
    """The folder with their logs. Beat rings a task that needs no database, every second."""
    (tmp_path / "ringing.py").write_text(
        "from tests.settings import *\n"
        "CELERY_BEAT_SCHEDULE = {'ping': {'task': 'celery.accumulate', 'schedule': 1.0, 'options': {'expires': 5}}}\n"
    )
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "ringing", "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    for name in BOTH:
        cache.delete(f"alive:{name}")
    running = []
    for name, words in {"worker": ["--concurrency", "1", "--without-mingle"], "beat": ["--pidfile", ""]}.items():
        command = [sys.executable, "-m", "celery", "-A", "visa_site", name, "--loglevel", "INFO", *words]
        with (tmp_path / f"{name}.log").open("wb") as log:
            running.append(subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT))
    try:
        yield tmp_path
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait(90)


def lately(name: str) -> bool:
    seen = alive.age(name)
    return seen is not None and seen < 4


def test_worker_and_beat_live_and_outlive_their_redis(worker_and_beat: Path, redis: RedisServer) -> None:
    def done() -> int:
        return (worker_and_beat / "worker.log").read_text().count("succeeded")

    wait_until(lambda: all(map(lately, BOTH)), "signs of life of both", patience=90)
    wait_until(lambda: done() > 0, "a task that was done", patience=60)
    redis.kill()
    wait_until(lambda: "Connection" in (worker_and_beat / "worker.log").read_text(), "the loss being noticed")
    redis.start()
    for name in BOTH:
        cache.delete(f"alive:{name}")
    before = done()
    wait_until(lambda: all(map(lately, BOTH)), "signs of life of both again", patience=90)
    wait_until(lambda: done() > before + 1, "tasks done again", patience=60)


def test_every_task_that_beat_rings_exists() -> None:
    app.loader.import_default_modules()
    for name, entry in settings.CELERY_BEAT_SCHEDULE.items():
        assert entry["task"] in app.tasks, name


def test_a_message_is_returned_to_the_queue_only_after_the_longest_task() -> None:
    """Else a task that takes long would run twice at a time."""
    assert settings.CELERY_BROKER_TRANSPORT_OPTIONS["visibility_timeout"] > settings.CELERY_TASK_TIME_LIMIT


def test_messages_are_plain_data() -> None:
    """SEC-39: what is read from the queue is never code."""
    assert settings.CELERY_ACCEPT_CONTENT == ["json"]
    assert app.conf.task_serializer == "json"
