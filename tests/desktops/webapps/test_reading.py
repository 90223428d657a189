"""What a watcher may ask of JupyterLab; the real one answers in test_jupyter."""

from __future__ import annotations

import pytest

from desktops.webapps import reading

KERNEL = b"/api/kernels/01234567-89ab-cdef-0123-456789abcdef"


@pytest.mark.parametrize(
    "path",
    [
        b"/",
        b"/lab",
        b"/lab/tree/a%20b.ipynb",
        b"/static/lab/main.js",
        b"/api/contents/data/run.h5",
        KERNEL,
        b"/h5grove/meta/",
    ],
)
def test_what_shows_something_is_allowed(path: bytes) -> None:
    assert reading.may_read("GET", path)
    assert not reading.may_read("POST", path)


@pytest.mark.parametrize(
    "path",
    [
        *(b"//lab", b"/LAB", b"/lab/../proxy", b"/files/%2e%2e/x", b"/files/..%2fx", KERNEL + b"/restart", b"/logout"),
        *(b"/proxy/8080/", b"/terminals/1", b"/nbconvert/html/x", b"/api/shutdown", b"/api/kernels/x", b"/visa", b""),
    ],
)
def test_everything_else_is_not(path: bytes) -> None:
    assert not reading.may_read("GET", path)


def test_only_kernels_and_events_are_listened_to() -> None:
    assert reading.may_listen(KERNEL + b"/channels")
    assert reading.may_listen(b"/api/events/subscribe")
    for path in (b"/terminals/websocket/1", KERNEL, KERNEL + b"/channels/", b"/lsp/ws/x", b"/api/yjs/x"):
        assert not reading.may_listen(path)
