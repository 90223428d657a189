"""Every socket of the site refuses every page but our own. SEC-01."""

from __future__ import annotations

from uuid import uuid4

import pytest
from django.test import override_settings
from django.urls.resolvers import URLPattern
from websockets.exceptions import InvalidStatus

from desktops.origin import allowed_origins, origin_of
from desktops.routing import websocket_urlpatterns
from tests.desktops.conftest import House, sign_in
from tests.desktops.viewers import viewing

FOREIGN = {
    "missing": None,
    "null": "null",
    "foreign": "https://evil.example",
    "sibling": "http://evil.localhost:8000",
    "child": "http://localhost.evil.example:8000",
    "another port": "http://localhost:8001",
    "no port": "http://localhost",
    "another scheme": "https://localhost:8000",
    "same machine, another name": "http://127.0.0.1:8000",
    "with a path": "http://localhost:8000/",
    "with a person": "http://localhost:8000@evil.example",
    "two in one": "http://localhost:8000 http://localhost:8000",
}


def paths() -> list[str]:
    """Every route that the router knows, so that a new one cannot escape."""
    routes = [route for route in websocket_urlpatterns if isinstance(route, URLPattern)]
    assert len(routes) == len(websocket_urlpatterns)
    return ["/" + str(route.pattern).replace("<uuid:uuid>", str(uuid4())) for route in routes]


@pytest.mark.parametrize("origin", FOREIGN.values(), ids=FOREIGN.keys())
async def test_a_foreign_page_opens_no_socket(house: House, origin: str | None) -> None:
    _, headers = await sign_in(house.people.alice)
    for path in [*paths(), house.path()]:
        with pytest.raises(InvalidStatus) as refused:
            async with viewing(house.port, path, additional_headers=headers, origin=origin):
                pass
        assert refused.value.response.status_code == 403
    assert not house.desktop.writers


async def test_two_origins_open_no_socket(house: House) -> None:
    _, headers = await sign_in(house.people.alice)
    with pytest.raises(InvalidStatus):
        async with viewing(
            house.port, house.path(), additional_headers=[*headers.items(), ("Origin", "http://localhost:8000")]
        ):
            pass


@pytest.mark.parametrize(
    ("address", "origin"),
    [
        ("http://localhost:8000", "http://localhost:8000"),
        ("https://VISA.Example.org:443/", "https://visa.example.org"),
        ("http://visa.example.org:80", "http://visa.example.org"),
        ("https://visa.example.org:8443/path", "https://visa.example.org:8443"),
        ("http://[::1]:8000", "http://[::1]:8000"),
    ],
)
def test_addresses_become_origins_as_browsers_write_them(address: str, origin: str) -> None:
    assert origin_of(address) == origin


def test_the_public_address_and_the_trusted_origins_are_ours() -> None:
    with override_settings(
        PUBLIC_URL="https://visa.example.org", CSRF_TRUSTED_ORIGINS=["https://visa.example.net:444"]
    ):
        assert allowed_origins() == {"https://visa.example.org", "https://visa.example.net:444"}
