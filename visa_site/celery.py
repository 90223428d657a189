"""The Celery application: `celery -A visa_site worker` and `celery -A visa_site beat`."""

import os
import time
from typing import Any

from celery import Celery
from celery.beat import Scheduler
from celery.signals import heartbeat_sent

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "visa_site.settings")

RING_PATIENCE = {"socket_timeout": 0.6, "socket_connect_timeout": 0.6, "max_retries": 1, "interval_start": 0}
"""Of kombu's connections: seconds, and how many tries beside the first."""


class Bell(Celery):
    """Who rings waits two seconds at most for Redis; workers, who listen, are as patient as the settings say."""

    def connection_for_write(
        self, url: str | None = None, *, transport_options: dict[str, Any] | None = None, **kwargs: Any
    ) -> Any:
        return super().connection_for_write(url, transport_options=transport_options or RING_PATIENCE, **kwargs)


app = Bell("visa")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()

MARK_EVERY = 2.0  # seconds


class HeartbeatScheduler(Scheduler):
    """Rings what the settings say, keeps nothing on disk, and shows every two seconds that it lives.

    Every task that it rings looks at rows and does what is due, so a ring lost in a restart costs one interval.
    """

    max_interval = MARK_EVERY
    _marked_at = 0.0

    def setup_schedule(self) -> None:
        self.merge_inplace(self.app.conf.beat_schedule)

    def tick(self, *args: Any, **kwargs: Any) -> Any:
        wait = super().tick(*args, **kwargs)
        if time.monotonic() - self._marked_at >= MARK_EVERY:
            _mark("beat")
            self._marked_at = time.monotonic()
        return wait


@heartbeat_sent.connect
def worker_lives(**kwargs: Any) -> None:
    """Called every two seconds in the worker's main process, whatever its children are busy with."""
    _mark("worker")


def _mark(name: str) -> None:
    from instances import alive  # noqa: PLC0415 - apps are loaded after this module

    alive.mark(name)
