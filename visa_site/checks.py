"""What must be right before people use an installation: `manage.py check --deploy` says what is not, and what to do."""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register

SHORTEST_KEY = 32  # characters
MAKE_ONE = "Make one with: python3 -c 'import secrets; print(secrets.token_urlsafe(50))'"
# Words of secrets that were printed in some document; nobody's random key holds them.
SAMPLES = re.compile(r"insecure|change.?me|secret|password|example|default", re.IGNORECASE)
LOCAL = {"localhost", "127.0.0.1", "::1"}


@register(Tags.security, deploy=True)
def secrets(**kwargs: Any) -> list[CheckMessage]:
    return [*_secret("VISA_SECRET_KEY", settings.SECRET_KEY, "visa.E001"), *_encryption_keys()]


def _encryption_keys() -> Iterator[CheckMessage]:
    if not settings.ENCRYPTION_KEYS:
        yield Error("VISA_ENCRYPTION_KEYS is empty.", hint=MAKE_ONE, id="visa.E002")
    for key in settings.ENCRYPTION_KEYS:
        yield from _secret("VISA_ENCRYPTION_KEYS", key, "visa.E002")
    if settings.SECRET_KEY in settings.ENCRYPTION_KEYS:
        yield Error(
            "VISA_ENCRYPTION_KEYS is the same as VISA_SECRET_KEY: one could not be changed without the other.",
            hint=MAKE_ONE,
            id="visa.E003",
        )


def _secret(name: str, value: str, code: str) -> Iterator[CheckMessage]:
    if len(value) < SHORTEST_KEY or len(set(value)) < 8:
        yield Error(f"{name} is too short or too simple to be a secret.", hint=MAKE_ONE, id=code)
    elif SAMPLES.search(value):
        yield Error(f"{name} looks like an example out of a document.", hint=MAKE_ONE, id=code)


@register(Tags.security, deploy=True)
def address(**kwargs: Any) -> list[CheckMessage]:
    return list(_address(urlsplit(settings.PUBLIC_URL)))


def _address(url: Any) -> Iterator[CheckMessage]:
    if url.scheme != "https":
        yield Warning(
            f"VISA_PUBLIC_URL is not https ({settings.PUBLIC_URL}): passwords and desktops would travel in the clear.",
            hint="Put a proxy with a certificate in front (deploy/nginx.conf), set VISA_PUBLIC_URL to its https "
            "address and VISA_BEHIND_PROXY=1.",
            id="visa.W010",
        )
    if url.hostname not in LOCAL and url.hostname not in settings.ALLOWED_HOSTS:
        yield Error(
            f"VISA_ALLOWED_HOSTS lacks the host of VISA_PUBLIC_URL ({url.hostname}): every page would be refused.",
            hint=f"Set VISA_ALLOWED_HOSTS={url.hostname}",
            id="visa.E011",
        )
    if "*" in settings.ALLOWED_HOSTS:
        yield Error("VISA_ALLOWED_HOSTS holds *.", hint="Name the hosts that people use.", id="visa.E012")


@register(Tags.security, deploy=True)
def apps_domain(**kwargs: Any) -> list[CheckMessage]:
    """Machines' web applications need hosts under a domain that is not the site's own."""
    return list(_apps_domain(settings.APPS_DOMAIN, urlsplit(settings.PUBLIC_URL)))


def _apps_domain(domain: str, url: Any) -> Iterator[CheckMessage]:
    if domain == url.netloc and url.hostname not in LOCAL:
        yield Error(
            "VISA_APPS_DOMAIN is not set: JupyterLab of each machine needs a host of its own.",
            hint="Choose a domain that carries nothing else, such as apps.facility.org; let *.<domain> lead here in "
            "the DNS and in the proxy, with a certificate for it (deploy/nginx.conf). Then set VISA_APPS_DOMAIN.",
            id="visa.E030",
        )
    elif not re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)*(:[0-9]+)?", domain):
        yield Error(
            f"VISA_APPS_DOMAIN is not the name of a domain: {domain}.",
            hint="Write it without scheme and path, with a port only where people's browsers show one.",
            id="visa.E031",
        )
    elif url.hostname not in LOCAL and _nested(domain.partition(":")[0], url.hostname):
        yield Error(
            "VISA_APPS_DOMAIN and the host of VISA_PUBLIC_URL lie within each other.",
            hint="Pages of a machine may set cookies for every domain that theirs lies in. Choose a domain beside it.",
            id="visa.E032",
        )


def _nested(one: str, other: str) -> bool:
    return one.endswith(f".{other}") or other.endswith(f".{one}")


@register(Tags.security, deploy=True)
def deployment(**kwargs: Any) -> list[CheckMessage]:
    if settings.VISA_DEPLOYMENT != "00000000-0000-0000-0000-000000000001":
        return []
    return [
        Error(
            "VISA_DEPLOYMENT is not set: two installations on one host would take each other's machines for their own.",
            hint="Give this installation its own, once and for ever: python3 -c 'import uuid; print(uuid.uuid4())'",
            id="visa.E020",
        )
    ]
