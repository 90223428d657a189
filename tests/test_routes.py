"""Who may do what, for every address of the site. An address without a row fails."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from desktops.routing import websocket_urlpatterns
from experiments.models import Role, User
from instances.models import Instance, Member, MemberRole
from tests.desktops.rooms import granted
from tests.people import facility, person

pytestmark = pytest.mark.django_db

IN = 302  # to the sign-in
WHO = ("anonymous", "charlie", "bob", "alice", "admin")

# Method and address: what anonymous, Charlie, Bob, Alice and an administrator get. {m} is Alice's machine.
TABLE: dict[str, tuple[str, tuple[int, int, int, int, int]]] = {
    "": ("GET /", (IN, 200, 200, 200, 200)),
    "machines/<uuid:uuid>/desktop/": ("GET /machines/{m}/desktop/", (IN, 404, 200, 200, 200)),
    "machines/<uuid:uuid>/terminal/": ("GET /machines/{m}/terminal/", (IN, 404, 200, 200, 200)),
    # The machine has no address: who may come in is told that it does not run.
    "machines/<uuid:uuid>/files/": ("GET /machines/{m}/files/", (IN, 404, 200, 200, 200)),
    "machines/<uuid:uuid>/files/list/": ("GET /machines/{m}/files/list/", (IN, 404, 409, 409, 409)),
    "machines/<uuid:uuid>/files/get/": ("GET /machines/{m}/files/get/?path=/x", (IN, 404, 409, 409, 409)),
    "machines/<uuid:uuid>/files/zip/": ("GET /machines/{m}/files/zip/?path=/x", (IN, 404, 409, 409, 409)),
    "machines/<uuid:uuid>/files/preview/": ("GET /machines/{m}/files/preview/?path=/x", (IN, 404, 409, 409, 409)),
    "machines/<uuid:uuid>/files/change/": (
        "POST /machines/{m}/files/change/ act=delete&path=/x",
        (IN, 404, 409, 409, 409),
    ),
    "machines/<uuid:uuid>/files/upload/": ("GET /machines/{m}/files/upload/?path=/x", (IN, 404, 409, 409, 409)),
    "machines/<uuid:uuid>/runs/": ("GET /machines/{m}/runs/", (IN, 404, 200, 200, 200)),
    # Nobody asked for such a run: the machine is found by some, the run by nobody.
    "machines/<uuid:uuid>/runs/<uuid:run>/stop/": ("POST /machines/{m}/runs/{m}/stop/", (IN, 404, 404, 404, 404)),
    "machines/<uuid:uuid>/ask/": ("POST /machines/{m}/ask/ reason=x&minutes=9", (IN, 404, 403, 403, 200)),
    "machines/<uuid:uuid>/ask/cancel/": ("POST /machines/{m}/ask/cancel/", (IN, 404, 200, 200, 200)),
    "machines/<uuid:uuid>/enter/": ("POST /machines/{m}/enter/ reason=x&minutes=9", (IN, 404, 403, 403, 200)),
    "machines/<uuid:uuid>/requests/<uuid:asked>/answer/": (
        "POST /machines/{m}/requests/{m}/answer/ answer=watch",
        (IN, 404, 404, 404, 404),
    ),
    "machines/<uuid:uuid>/support/": ("GET /machines/{m}/support/", (IN, 404, 200, 200, 200)),
    "machines/<uuid:uuid>/support/end/": ("POST /machines/{m}/support/end/", (IN, 404, 200, 200, 200)),
    "machines/<uuid:uuid>/help/": ("POST /machines/{m}/help/ message=x", (IN, 404, 403, 200, 403)),
    "machines/<uuid:uuid>/help/take/": ("POST /machines/{m}/help/take/", (IN, 404, 403, 403, 409)),
    "machines/<uuid:uuid>/help/close/": ("POST /machines/{m}/help/close/", (IN, 404, 403, 200, 403)),
    "machines/<uuid:uuid>/members/": ("GET /machines/{m}/members/", (IN, 404, 200, 200, 200)),
    "machines/<uuid:uuid>/members/search/": ("GET /machines/{m}/members/search/?q=bob", (IN, 404, 403, 200, 200)),
    "machines/<uuid:uuid>/members/add/": (
        "POST /machines/{m}/members/add/ user={charlie}&role=guest",
        (IN, 404, 403, 200, 200),
    ),
    "machines/<uuid:uuid>/members/role/": (
        "POST /machines/{m}/members/role/ user={bob}&role=guest",
        (IN, 404, 403, 200, 200),
    ),
    "machines/<uuid:uuid>/members/remove/": (
        "POST /machines/{m}/members/remove/ user={alice}",
        (IN, 404, 403, 400, 400),
    ),
    "machines/<uuid:uuid>/members/handover/": (
        "POST /machines/{m}/members/handover/ user={bob}",
        (IN, 404, 403, 200, 200),
    ),
    "machines/<uuid:uuid>/invitations/": (
        "POST /machines/{m}/invitations/ name=x&role=user&days=7&uses=1",
        (IN, 404, 403, 200, 200),
    ),
    # Nobody made such a link: the machine is found by some, the link by nobody.
    "machines/<uuid:uuid>/invitations/<uuid:invitation>/revoke/": (
        "POST /machines/{m}/invitations/{m}/revoke/",
        (IN, 404, 404, 404, 404),
    ),
    "machines/<uuid:uuid>/public-link/": ("POST /machines/{m}/public-link/ act=make", (IN, 404, 403, 200, 200)),
    # The page of a link is the same for everybody and for every id; what it is for, only who has the secret learns.
    "join/<uuid:uuid>/": ("POST /join/{m}/ act=join&secret=x", (403, 403, 403, 403, 403)),
    "machines/<uuid:uuid>/apps/<slug:slug>/": ("POST /machines/{m}/apps/jupyter/", (IN, 404, 200, 200, 200)),
    "machines/new/": ("GET /machines/new/", (IN, 200, 200, 200, 200)),
    "machines/new/sizes/": ("GET /machines/new/sizes/", (IN, 200, 200, 200, 200)),
    "machines/past/": ("GET /machines/past/", (IN, 200, 200, 200, 200)),
    "machines/<uuid:uuid>/": ("GET /machines/{m}/", (IN, 404, 200, 200, 200)),
    "machines/<uuid:uuid>/card/": ("GET /machines/{m}/card/", (IN, 404, 200, 200, 200)),
    "machines/<uuid:uuid>/progress/": ("GET /machines/{m}/progress/", (IN, 404, 200, 200, 200)),
    "machines/<uuid:uuid>/status/": ("GET /machines/{m}/status/", (IN, 404, 200, 200, 200)),
    "machines/<uuid:uuid>/rename/": ("POST /machines/{m}/rename/ name=New", (IN, 404, 403, 302, 302)),
    "machines/<uuid:uuid>/time/": ("GET /machines/{m}/time/", (IN, 404, 200, 200, 200)),
    "machines/<uuid:uuid>/time/end/": ("POST /machines/{m}/time/end/ end=2099-01-01", (IN, 404, 403, 302, 302)),
    "machines/<uuid:uuid>/time/awake/": ("POST /machines/{m}/time/awake/ days=2", (IN, 404, 403, 302, 302)),
    "machines/<uuid:uuid>/time/more/": ("POST /machines/{m}/time/more/ reason=x", (IN, 404, 403, 302, 302)),
    "machines/<uuid:uuid>/bin/back/": ("POST /machines/{m}/bin/back/", (IN, 404, 403, 302, 302)),
    "machines/<uuid:uuid>/bin/empty/": ("POST /machines/{m}/bin/empty/", (IN, 404, 403, 302, 302)),
    # Nobody has taken a picture yet: those who may see the machine are told the same as those who may not.
    "machines/<uuid:uuid>/thumbnail/": ("GET /machines/{m}/thumbnail/", (IN, 404, 404, 404, 404)),
    "machines/<uuid:uuid>/<slug:name>/": ("POST /machines/{m}/reboot/ confirmed=yes", (IN, 404, 403, 302, 302)),
    "machines/<uuid:uuid>/room/": ("GET /machines/{m}/room/", (IN, 404, 200, 200, 200)),
    "machines/<uuid:uuid>/room/settings/": (
        "POST /machines/{m}/room/settings/ watchers_draw=on",
        (IN, 404, 403, 200, 403),
    ),
    "machines/<uuid:uuid>/room/control/": ("POST /machines/{m}/room/control/ act=freeze", (IN, 404, 403, 200, 403)),
    "machines/<uuid:uuid>/room/dismiss/": ("POST /machines/{m}/room/dismiss/ user={bob}", (IN, 404, 403, 200, 403)),
    "machines/<uuid:uuid>/chat/": ("GET /machines/{m}/chat/", (IN, 404, 200, 200, 403)),
    "machines/<uuid:uuid>/chat/send/": ("POST /machines/{m}/chat/send/ key={m}&text=Hello", (IN, 404, 200, 200, 403)),
    "machines/<uuid:uuid>/chat/read/": ("POST /machines/{m}/chat/read/ upto=1", (IN, 404, 200, 200, 403)),
    "support/": ("GET /support/", (IN, 404, 404, 404, 200)),
    "support/list/": ("GET /support/list/", (IN, 404, 404, 404, 200)),
    "support/<uuid:uuid>/": ("GET /support/{m}/", (IN, 404, 404, 404, 200)),
    "notices/": ("GET /notices/", (IN, 200, 200, 200, 200)),
    "notices/bell/": ("GET /notices/bell/", (IN, 200, 200, 200, 200)),
    "notices/read/": ("POST /notices/read/ notice={m}", (IN, 404, 404, 404, 404)),
    "profile/": ("GET /profile/", (IN, 200, 200, 200, 200)),
    "profile/mail/": ("POST /profile/mail/ group=life", (IN, 302, 302, 302, 302)),
    "profile/tokens/": ("POST /profile/tokens/ name=x&days=3", (IN, 200, 200, 200, 200)),
    "profile/tokens/<uuid:uuid>/revoke/": ("POST /profile/tokens/{m}/revoke/", (IN, 404, 404, 404, 404)),
    "language/": ("POST /language/ language=fr", (302, 302, 302, 302, 302)),
    "health/": ("GET /health/", (503, 503, 503, 503, 503)),
    "accounts/login/": ("GET /accounts/login/", (200, 302, 302, 302, 302)),
    "accounts/logout/": ("GET /accounts/logout/", (302, 200, 200, 200, 200)),
    "accounts/password/change/": ("GET /accounts/password/change/", (IN, 200, 200, 200, 200)),
}

LIKE = {"gwen": "bob", "sam": "bob", "helper": "bob", "local": "bob", "ines": "charlie"}
"""Further people and whom the table's row says of them too, unless `OTHERWISE` does.

Gwen may only watch Alice's machine. Sam is of IT, the helper too and was let in by Alice; the local contact is a
scientist of the instrument that Alice measured at; Ines is one of another.
"""

NO_CHAT = ("chat/", "chat/send/", "chat/read/")
FOR_SUPPORT = {"ask/": 200, "enter/": 200, "help/take/": 409}
OTHERWISE: dict[tuple[str, str], int] = {
    (f"machines/<uuid:uuid>/{path}", who): 403 for path in NO_CHAT for who in ("sam", "local")
} | {
    (f"machines/<uuid:uuid>/{path}", who): answer
    for path, answer in FOR_SUPPORT.items()
    for who in ("sam", "helper", "local")
}
OTHERWISE |= {
    (path, who): 200
    for path in ("support/", "support/list/", "support/<uuid:uuid>/")
    for who in ("sam", "helper", "local", "ines")
}

UNDER_ONE_RULE = {
    # prefix: an address under it, and what the five get
    "admin/": ("GET /admin/", (302, 302, 302, 302, 200)),
    "api/v1/": ("GET /api/v1/instances/", (401, 200, 200, 200, 200)),
    "accounts/": ("GET /accounts/signup/", (200, 302, 302, 302, 302)),
}

SOCKETS = {"events/", ""} | {f"desktops/<uuid:uuid>/{which}/" for which in ("screen", "console", "terminal")}
"""Who opens which is in tests/desktops/test_who_opens_what, who says what there in test_who_may_say_what."""

CHANGES = {"machines/<uuid:uuid>/rename/", "machines/<uuid:uuid>/<slug:name>/", "language/"}
CHANGES |= {path for path in TABLE if any(word in path for word in ("/ask/", "/enter/", "/answer/", "/end/", "/help/"))}
CHANGES |= {f"machines/<uuid:uuid>/room/{what}/" for what in ("settings", "control", "dismiss")}
CHANGES |= {"machines/<uuid:uuid>/chat/send/", "machines/<uuid:uuid>/chat/read/"}
CHANGES |= {f"machines/<uuid:uuid>/members/{what}/" for what in ("add", "role", "remove", "handover")}
CHANGES |= {"machines/<uuid:uuid>/files/change/", "machines/<uuid:uuid>/runs/<uuid:run>/stop/"}
CHANGES |= {path for path in TABLE if "/invitations/" in path or "/public-link/" in path}
GIVES = {"machines/<uuid:uuid>/apps/<slug:slug>/"}
"""By GET they show a form; what they give they give by POST, and only to our own forms."""
CHANGES |= {"notices/read/", "profile/tokens/", "profile/tokens/<uuid:uuid>/revoke/"}


def routes(resolver: URLResolver, prefix: str = "") -> Iterator[str]:
    for pattern in resolver.url_patterns:
        path = prefix + str(pattern.pattern)
        if isinstance(pattern, URLPattern):
            yield path
        else:
            yield from routes(pattern, path)


def test_every_address_has_a_row() -> None:
    known = tuple(UNDER_ONE_RULE)
    without = [path for path in routes(get_resolver()) if path not in TABLE and not path.startswith(known)]
    assert not without


def test_every_row_has_an_address() -> None:
    assert set(TABLE) <= set(routes(get_resolver()))


def test_every_socket_is_known() -> None:
    assert {str(pattern.pattern) for pattern in websocket_urlpatterns} == SOCKETS


@pytest.fixture
def people(db: None) -> dict[str, User]:
    """By their names; Alice owns the one machine."""
    made = facility()
    others = {"gwen": person("gwen"), "helper": person("helper", Role.IT_SUPPORT)}
    Member.objects.create(instance=made.machine, user=others["gwen"], role=MemberRole.GUEST)
    granted(others["helper"], made.machine)
    others["local"] = person("local", Role.INSTRUMENT_SCIENTIST)
    made.experiment.instrument.scientists.add(others["local"])
    known = ("alice", "bob", "charlie", "ines", "sam", "admin")
    return {name: getattr(made, name) for name in known} | others


def named(people: dict[str, User]) -> dict[str, UUID]:
    """What stands in the rows: {m} the machine, and the people by their names."""
    return {"m": Instance.objects.get().uuid} | {name: user.uuid for name, user in people.items()}


def ask(client: Client, line: str, people: dict[str, User]) -> int:
    method, address, *form = line.format(**named(people)).split()
    if method == "GET":
        return client.get(address).status_code
    data = dict(pair.split("=") for pair in "&".join(form).split("&") if pair)
    return client.post(address, data).status_code


def expected(path: str, who: str) -> tuple[str, int]:
    """What is asked, and the answer that this person must get."""
    line, answers = TABLE.get(path) or UNDER_ONE_RULE[path]
    return line, OTHERWISE.get((path, who), answers[WHO.index(LIKE.get(who, who))])


@pytest.mark.parametrize("path", [*TABLE, *UNDER_ONE_RULE])
@pytest.mark.parametrize("who", [*WHO, *LIKE])
def test_each_gets_what_the_table_says(path: str, who: str, people: dict[str, User]) -> None:
    line, answer = expected(path, who)
    client = Client()
    if who != "anonymous":
        client.force_login(people[who])
    assert ask(client, line, people) == answer


def test_every_exception_is_of_an_address_and_a_person() -> None:
    assert {path for path, _who in OTHERWISE} <= TABLE.keys() | UNDER_ONE_RULE.keys()
    assert {who for _path, who in OTHERWISE} <= LIKE.keys()


@pytest.mark.parametrize("path", sorted(CHANGES))
def test_what_changes_something_does_not_answer_to_get(path: str, people: dict[str, User]) -> None:
    client = Client()
    client.force_login(people["alice"])
    address = TABLE[path][0].format(**named(people)).split()[1]
    assert client.get(address).status_code == 405


@pytest.mark.parametrize("path", sorted(CHANGES | GIVES))
def test_what_changes_something_wants_the_forms_own_token(path: str, people: dict[str, User]) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(people["alice"])
    assert ask(client, TABLE[path][0], people) == 403
