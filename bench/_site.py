"""The site as production serves it, with Alice signed in and her machine somewhere."""

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from bench.relay import free_port, running
from tests.servers import redis_server


@dataclass
class Site:
    """Port and pid of the web process, Alice's machine, and the key of her session."""

    port: int
    pid: int
    machine: UUID
    session: str


@contextmanager
def serving(home: Path, place: Callable[[Any], None]) -> Iterator[Site]:
    """Sets Django up in this process; then `place` says of Alice's machine where it is."""
    port = free_port()
    os.environ |= {
        "VISA_HOME": str(home),
        "VISA_SECRET_KEY": secrets.token_urlsafe(50),
        "VISA_REDIS_SOCKET": f"{home}/redis.sock",
        "VISA_PORT": str(port),
        "DJANGO_SETTINGS_MODULE": "visa_site.settings",
        "VISA_LOG_LEVEL": "ERROR",
    }
    (home / "static").mkdir()
    with redis_server(home / "redis.sock"):
        import django  # noqa: PLC0415 - the environment had to be told first

        django.setup()
        from deploy.supervision import site_programs  # noqa: PLC0415

        machine, session = _alice(place)
        with running(site_programs("127.0.0.1", port)["web"], port) as pid:
            yield Site(port, pid, machine, session)


def _alice(place: Callable[[Any], None]) -> tuple[UUID, str]:
    from django.core.management import call_command  # noqa: PLC0415
    from django.test import Client  # noqa: PLC0415

    from tests.people import facility  # noqa: PLC0415

    call_command("migrate", verbosity=0)
    people = facility()
    place(people.machine)
    client = Client()
    client.force_login(people.alice, "django.contrib.auth.backends.ModelBackend")
    return people.machine.uuid, str(client.session.session_key)
