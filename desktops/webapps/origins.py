"""Where a machine's web applications are: each has a host of its own under `settings.APPS_DOMAIN`, so an origin.

`<machine>.<domain>` is its JupyterLab, `<machine>-<name>.<domain>` another application. The site is on none of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from uuid import UUID

from django.conf import settings

from instances.models import JUPYTER

_LABEL = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?:-([a-z][a-z0-9-]{0,24}))?")


@dataclass(frozen=True)
class Address:
    """One web application of one machine."""

    uuid: UUID
    app: str = JUPYTER

    @property
    def host(self) -> str:
        """As browsers write it: with the port where it is not the scheme's own."""
        label = str(self.uuid) if self.app == JUPYTER else f"{self.uuid}-{self.app}"
        return f"{label}.{settings.APPS_DOMAIN}"

    @property
    def origin(self) -> str:
        return f"{scheme()}://{self.host}"


def scheme() -> str:
    return "https" if settings.HTTPS else "http"


def is_apps_host(host: str) -> bool:
    """Whether the host lies under the domain of the applications, whatever it names there."""
    return host.lower().endswith(f".{settings.APPS_DOMAIN}")


def address_at(host: str) -> Address | None:
    """What is at this host; None where no machine could be."""
    return _named(host.lower().removesuffix(f".{settings.APPS_DOMAIN}")) if is_apps_host(host) else None


@lru_cache(maxsize=1024)
def _named(label: str) -> Address | None:
    found = _LABEL.fullmatch(label)
    return Address(UUID(found[1]), found[2] or JUPYTER) if found else None
