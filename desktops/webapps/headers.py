"""What a proxy may pass on of headers, in both directions. Pure: knows no Django.

The guest is not trusted: it never sees a cookie of ours, and sets none that reaches beyond its own host.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import cast

Headers = list[tuple[bytes, bytes]]

HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer transfer-encoding "
    b"upgrade".split()
)
"""RFC 9110, 7.6.1, and what older clients say."""

OURS_UPWARD = frozenset(
    (b"host", b"cookie", b"authorization", b"expect", b"forwarded", b"x-real-ip", b"content-length")
)
"""Said by the proxy itself, or by nobody."""

OURS_DOWNWARD = frozenset(
    b"server date alt-svc strict-transport-security clear-site-data service-worker-allowed www-authenticate "
    b"cross-origin-resource-policy x-frame-options".split()
)
"""`Clear-Site-Data` would empty the cookies of the whole domain; `WWW-Authenticate` asks for a password that never goes
up; the others speak for us, not for a guest.
"""

NEVER_UPWARD = HOP_BY_HOP | OURS_UPWARD
NEVER_DOWNWARD = HOP_BY_HOP | OURS_DOWNWARD

FRAMED = ("samesite", "secure", "partitioned")
"""Attributes of a cookie that decide whether a browser keeps it for a page in another site's frame."""

ALONE = (b"cross-origin-resource-policy", b"same-origin")
"""Added to each answer: no other page may take it in, whatever the browser says of who asks (Fetch, 3.7)."""

_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")


class Malformed(Exception):
    """The request can be read in more than one way, which is how requests are smuggled (RFC 9112, 11.2)."""


@dataclass(frozen=True)
class Framing:
    """Whether a request has a body, and its bytes where they were announced."""

    body: bool
    length: int | None = None

    @property
    def headers(self) -> Headers:
        """As it is said to the machine."""
        if self.length is not None:
            return [(b"content-length", str(self.length).encode())]
        return [(b"transfer-encoding", b"chunked")] if self.body else []


def values(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    return [value for key, value in headers if key.lower() == name]


def only(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> str | None:
    """The value of a header that may be there once. Raises Malformed where it is there twice."""
    found = values(headers, name)
    if len(found) > 1:
        raise Malformed(f"{name.decode()} is there twice")
    return found[0].decode("latin-1").strip(" \t") if found else None


def framing(headers: Iterable[tuple[bytes, bytes]]) -> Framing:
    """How the body is delimited (RFC 9112, 6.3); raises Malformed for anything but one plain way."""
    length, coding = only(headers, b"content-length"), only(headers, b"transfer-encoding")
    if coding is not None:
        if length is not None or coding.lower() != "chunked":
            raise Malformed("the body is delimited in two ways, or in one that is not known")
        return Framing(body=True)
    if length is None:
        return Framing(body=False)
    if not re.fullmatch(r"[0-9]{1,18}", length):
        raise Malformed("the length is not a number")
    return Framing(body=int(length) > 0, length=int(length))


@dataclass(frozen=True)
class Confines:
    """What keeps one application apart: the cookies that are not its own, by name or by the beginning of a name.

    `frames` are the origins that may show it in a frame beside its own; `framed`: one does, so that its cookies are
    kept for this frame alone (CHIPS).
    """

    ours: frozenset[str]
    secret: tuple[str, ...] = ()
    frames: tuple[str, ...] = ()
    framed: bool = False

    @cached_property
    def policy(self) -> tuple[bytes, bytes]:
        """Who may frame the application: not the guest's to say, or any page could lay itself over it."""
        return b"content-security-policy", " ".join(("frame-ancestors 'self'", *self.frames)).encode()

    def passes_up(self, name: str) -> bool:
        return name not in self.ours

    def passes_down(self, name: str) -> bool:
        """Names with these prefixes promise what only the host's own server may promise (RFC 6265bis, 4.1.3)."""
        reserved = name.lower().startswith(("__host-", "__secure-")) or name in self.ours
        return bool(name) and not reserved and not name.startswith(self.secret)


def upward(headers: Headers, confines: Confines) -> Iterator[tuple[bytes, bytes]]:
    """What the guest hears of a request, without what the proxy says itself."""
    dropped = NEVER_UPWARD | _named_by_connection(headers)
    for name, value in headers:
        known = name.lower()
        if known not in dropped and not known.startswith((b"x-forwarded-", b"sec-websocket-")):
            yield name, value
    cookies = cookies_upward(values(headers, b"cookie"), confines)
    if cookies:
        yield b"cookie", cookies


def cookies_upward(lines: Iterable[bytes], confines: Confines) -> bytes:
    pairs = [pair for line in lines for pair in line.split(b";")]
    return b"; ".join(pair.strip() for pair in pairs if confines.passes_up(_name(pair))).strip(b"; ")


def downward(headers: Iterable[tuple[bytes, bytes]], confines: Confines) -> Headers:
    """What the browser hears of the guest's answer."""
    kept = list(headers)
    dropped = NEVER_DOWNWARD | _named_by_connection(kept)
    passed = []
    for name, value in kept:
        known, said = name.lower(), cast("bytes | None", value)
        if known == b"set-cookie":
            said = cookie_downward(value, confines)
        elif known == b"content-security-policy":
            said = policy_downward(value)
        if said is not None and known not in dropped and _VALUE.fullmatch(said):
            passed.append((known, said))
    return passed


def cookie_downward(line: bytes, confines: Confines) -> bytes | None:
    """A Set-Cookie that stays with its host; None where it may not be set at all."""
    pair, *attributes = line.split(b";")
    if b"=" not in pair or not confines.passes_down(_name(pair)):
        return None
    gone = {"domain", *(FRAMED if confines.framed else ())}
    kept = [one for one in attributes if _name(one).lower() not in gone]
    own = [b" SameSite=None", b" Secure", b" Partitioned"] if confines.framed else []
    return b";".join([pair, *kept, *own])


def policy_downward(line: bytes) -> bytes:
    """Policies, between commas, without their word on who may frame (Content Security Policy 3, 6.4.2)."""
    return b",".join(
        b";".join(one for one in policy.split(b";") if one.lower().split()[:1] != [b"frame-ancestors"])
        for policy in line.split(b",")
    )


def cookies_in(headers: Headers) -> dict[str, list[str]]:
    """All values by name, in the browser's order: the cookie of the longest path first."""
    found: dict[str, list[str]] = {}
    for line in values(headers, b"cookie"):
        for pair in line.split(b";"):
            found.setdefault(_name(pair), []).append(pair.partition(b"=")[2].strip().decode("latin-1"))
    return found


def _name(pair: bytes) -> str:
    return pair.partition(b"=")[0].strip().decode("latin-1")


def _named_by_connection(headers: Iterable[tuple[bytes, bytes]]) -> frozenset[bytes]:
    tokens = [token for line in values(headers, b"connection") for token in line.split(b",")]
    return frozenset(token.strip().lower() for token in tokens)


def from_elsewhere(method: str, headers: Headers, origin: str) -> bool:
    """Whether another origin asks. JupyterLab is given its token with each request and so takes it for its owner's:
    that no other page can ask in the person's name is up to the proxy (Origin, Sec-Fetch-*; SameSite does not part
    the machines of one domain from each other).
    """
    said, site = only(headers, b"origin"), only(headers, b"sec-fetch-site")
    if said is not None:
        return said != origin
    if site in {"same-origin", "none"}:
        return False
    if method not in {"GET", "HEAD"}:
        return True
    followed = (only(headers, b"sec-fetch-mode"), only(headers, b"sec-fetch-dest")) == ("navigate", "document")
    return site is not None and not followed
