"""The site as production serves it, with Alice inside her machine's JupyterLab."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.relay import free_port, running
from tests.servers import redis_server


@contextmanager
def serving(home: Path, guest: int) -> Iterator[tuple[int, int, dict[str, str]]]:
    """Port and pid of the web process, and the headers of Alice's browser. Sets Django up in this process."""
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
        headers, command = _alice(guest, port)
        with running(command, port) as pid:
            yield port, pid, headers


def _alice(guest: int, port: int) -> tuple[dict[str, str], list[str]]:
    import django  # noqa: PLC0415 - the environment had to be told first

    django.setup()
    from django.core.management import call_command  # noqa: PLC0415
    from django.test import Client  # noqa: PLC0415

    from deploy.supervision import site_programs  # noqa: PLC0415
    from desktops.webapps.origins import Address  # noqa: PLC0415
    from desktops.webapps.tickets import cookie  # noqa: PLC0415
    from tests.desktops.webapps.conftest import put_behind  # noqa: PLC0415
    from tests.people import facility  # noqa: PLC0415

    call_command("migrate", verbosity=0)
    people = facility()
    put_behind(people.machine, guest)
    client = Client()
    client.force_login(people.alice, "django.contrib.auth.backends.ModelBackend")
    address = Address(people.machine.uuid)
    entered = cookie(str(client.session.session_key), address).split(";")[0]
    headers = {"Host": address.host, "Origin": address.origin, "Cookie": entered}
    return headers, site_programs("127.0.0.1", port)["web"]
