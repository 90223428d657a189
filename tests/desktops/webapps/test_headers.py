"""What passes through the proxy of headers, and what is a smuggled request."""

from __future__ import annotations

import pytest

from desktops.webapps import headers
from desktops.webapps.headers import Confines, Framing, Headers, Malformed

OURS = Confines(frozenset({"__Host-visa", "visa-csrf", "visa-app"}), ("username-",))
OWN = "http://m.localhost:8000"
FRAMED = Confines(frozenset({"visa-app"}), frames=("http://localhost:8000",), framed=True)


def test_hop_by_hop_headers_end_at_the_proxy() -> None:
    said: Headers = [
        *((b"connection", b"keep-alive, X-Own"), (b"x-own", b"1"), (b"te", b"trailers"), (b"upgrade", b"h2c")),
        *((b"proxy-authorization", b"x"), (b"transfer-encoding", b"chunked"), (b"accept", b"*/*")),
    ]
    assert list(headers.upward(said, OURS)) == [(b"accept", b"*/*")]


def test_what_the_browser_claims_about_itself_is_not_passed_on() -> None:
    said: Headers = [
        *((b"x-forwarded-for", b"10.0.0.1"), (b"forwarded", b"for=1"), (b"authorization", b"token mine")),
        *((b"host", b"evil"), (b"expect", b"100-continue"), (b"content-length", b"3")),
    ]
    assert list(headers.upward(said, OURS)) == []


def test_our_cookies_never_go_up() -> None:
    said: Headers = [(b"cookie", b"_xsrf=1; __Host-visa=secret;visa-app=secret; a=b"), (b"cookie", b"visa-csrf=s")]
    assert list(headers.upward(said, OURS)) == [(b"cookie", b"_xsrf=1; a=b")]


@pytest.mark.parametrize(
    ("line", "passed"),
    [
        (b"a=b; Path=/; Domain=localhost; HttpOnly", b"a=b; Path=/; HttpOnly"),
        (b"a=b; domain =.facility.org", b"a=b"),
        (b"a=b;DOMAIN=x;Secure", b"a=b;Secure"),
        (b"visa-app=stolen; Path=/lab", None),
        (b" visa-app =stolen", None),
        (b"visa-csrf=mine", None),
        (b"__Host-other=1; Secure; Path=/", None),
        (b"__host-other=1; Secure; Path=/", None),
        (b"__Secure-other=1", None),
        (b"=visa-app=nameless", None),
        (b"visa-app", None),
        (b"", None),
        (b"username-localhost-8000=credential", None),
        (b"a=b\x01", None),
    ],
)
def test_a_guests_cookie_stays_with_its_own_host(line: bytes, passed: bytes | None) -> None:
    expected = [(b"set-cookie", passed)] if passed is not None else []
    assert headers.downward([(b"Set-Cookie", line)], OURS) == expected


@pytest.mark.parametrize(
    ("line", "passed"),
    [
        (b"a=b; Path=/x", b"a=b; Path=/x; SameSite=None; Secure; Partitioned"),
        (b"a=b; samesite = Strict ;Secure; HttpOnly", b"a=b; HttpOnly; SameSite=None; Secure; Partitioned"),
        (b"a=; Max-Age=0; Domain=localhost", b"a=; Max-Age=0; SameSite=None; Secure; Partitioned"),
        (b"visa-app=stolen", None),
    ],
)
def test_in_a_frame_a_guests_cookie_is_kept_for_that_frame(line: bytes, passed: bytes | None) -> None:
    expected = [(b"set-cookie", passed)] if passed is not None else []
    assert headers.downward([(b"Set-Cookie", line)], FRAMED) == expected


@pytest.mark.parametrize(
    ("line", "passed"),
    [
        (b"frame-ancestors 'self'; report-uri /csp", b" report-uri /csp"),
        (b"default-src 'self'; Frame-Ancestors *", b"default-src 'self'"),
        (b"img-src *, frame-ancestors evil.example; a 'B'", b"img-src *, a 'B'"),
        (b"sandbox allow-scripts", b"sandbox allow-scripts"),
        (b"frame-ancestors", b""),
    ],
)
def test_who_frames_an_application_is_not_the_guests_to_say(line: bytes, passed: bytes) -> None:
    said = [(b"Content-Security-Policy", line), (b"X-Frame-Options", b"ALLOWALL")]
    assert headers.downward(said, OURS) == [(b"content-security-policy", passed)]
    assert FRAMED.policy == (b"content-security-policy", b"frame-ancestors 'self' http://localhost:8000")


def test_a_guest_does_not_speak_for_the_server() -> None:
    said = [
        *((b"Clear-Site-Data", b'"cookies"'), (b"Strict-Transport-Security", b"max-age=0"), (b"Server", b"x")),
        *((b"WWW-Authenticate", b"Basic"), (b"Cross-Origin-Resource-Policy", b"cross-origin")),
        *((b"Connection", b"X-Own"), (b"X-Own", b"1"), (b"Alt-Svc", b"h3=evil"), (b"ETag", b'"1"')),
    ]
    assert headers.downward(said, OURS) == [(b"etag", b'"1"')]


def test_bodies_are_delimited_in_one_way() -> None:
    assert headers.framing([]) == Framing(body=False)
    assert headers.framing([(b"content-length", b"0")]) == Framing(body=False, length=0)
    assert headers.framing([(b"content-length", b"12")]) == Framing(body=True, length=12)
    assert headers.framing([(b"Transfer-Encoding", b"Chunked")]) == Framing(body=True)


@pytest.mark.parametrize(
    "said",
    [
        [(b"content-length", b"1"), (b"transfer-encoding", b"chunked")],
        [(b"content-length", b"1"), (b"content-length", b"1")],
        [(b"content-length", b"+1")],
        [(b"content-length", b"1, 1")],
        [(b"content-length", b"0x1")],
        [(b"content-length", b"")],
        [(b"transfer-encoding", b"gzip, chunked")],
        [(b"transfer-encoding", b"chunked"), (b"transfer-encoding", b"identity")],
        [(b"transfer-encoding", b"\x0bchunked")],
    ],
)
def test_any_other_way_is_refused(said: Headers) -> None:
    with pytest.raises(Malformed):
        headers.framing(said)


@pytest.mark.parametrize(
    ("method", "said", "elsewhere"),
    [
        ("GET", {}, False),
        ("POST", {}, True),
        ("POST", {"origin": OWN}, False),
        ("POST", {"origin": "null"}, True),
        ("POST", {"origin": "http://localhost:8000"}, True),
        ("GET", {"origin": "http://other.localhost:8000"}, True),
        ("GET", {"sec-fetch-site": "same-origin"}, False),
        ("GET", {"sec-fetch-site": "none"}, False),
        ("GET", {"sec-fetch-site": "same-site"}, True),
        ("GET", {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}, True),
        ("GET", {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"}, True),
        ("GET", {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}, False),
        ("POST", {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}, True),
        ("DELETE", {"sec-fetch-site": "same-site"}, True),
    ],
)
def test_no_other_page_asks_in_the_persons_name(method: str, said: dict[str, str], elsewhere: bool) -> None:
    sent = [(name.encode(), value.encode()) for name, value in said.items()]
    assert headers.from_elsewhere(method, sent, OWN) is elsewhere
