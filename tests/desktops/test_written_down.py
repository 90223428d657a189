"""What happens between people at a machine stands in its history: who did what, and why."""

from __future__ import annotations

import pytest

from desktops import sharing, support
from desktops.access import Relation, Standing, Ticket
from desktops.models import AccessRequest, Which
from desktops.rfb import Role
from desktops.support import Answer
from desktops.visit import Visit
from instances import actions, history
from instances.models import MemberRole
from tests.desktops.rooms import looks
from tests.people import Facility, facility

pytestmark = pytest.mark.django_db


@pytest.fixture
def people() -> Facility:
    return facility()


def lines(people: Facility) -> list[tuple[str, str, str]]:
    """What the machine's page says, the newest first, without the moves from state to state."""
    told = history.happened(people.machine, 50)
    return [(str(line.said), str(line.by or ""), line.reason) for line in told if line.kind != "state"]


def asks(people: Facility) -> AccessRequest:
    looks(people.alice, people.machine)
    return support.ask(people.machine, people.sam, "The disk is full.", 30, control=True)


ALICE, SAM = "Alice Example", "Sam Example"


def test_a_request_of_support_its_answer_and_its_end(people: Facility) -> None:
    support.answer(asks(people), people.alice, Answer.WATCH)
    support.end(people.machine, people.sam)
    assert lines(people) == [
        (f"Support by {SAM} ended", SAM, ""),
        (f"{SAM} of support was let in", ALICE, ""),
        ("Support asked to join", SAM, "The disk is full."),
    ]


def test_a_refusal(people: Facility) -> None:
    support.answer(asks(people), people.alice, Answer.REFUSE)
    assert lines(people)[0] == (f"{SAM} of support was not let in", ALICE, "")


def test_support_that_came_in_while_the_owner_was_away(people: Facility) -> None:
    support.enter(people.machine, people.sam, "It fills the disk of its host.", 10)
    assert lines(people) == [("Support came in while the owner was away", SAM, "It fills the disk of its host.")]


def test_a_call_for_help(people: Facility) -> None:
    support.call(people.machine, people.alice, "It is black.")
    support.take(people.machine, people.sam)
    support.close(people.machine, people.alice)
    assert lines(people) == [
        ("Call for help closed", ALICE, ""),
        ("Support came to help", SAM, "It is black."),
        ("Help called for", ALICE, "It is black."),
    ]


def test_links_that_were_made_and_withdrawn(people: Facility) -> None:
    link, _address = sharing.invite(people.machine, people.alice, name="Team", role=MemberRole.USER, days=1, uses=2)
    for _press in range(2):
        sharing.revoke(link, people.alice)
    sharing.open_to_all(people.machine, people.alice)
    sharing.close_to_all(people.machine, people.alice)
    sharing.close_to_all(people.machine, people.alice)
    assert lines(people) == [
        ("Public view link withdrawn", ALICE, ""),
        ("Public view link made", ALICE, ""),
        ("Link withdrawn: Team", ALICE, ""),
        ("Link made for others to come in: Team", ALICE, ""),
    ]


def test_another_name(people: Facility) -> None:
    for _press in range(2):
        actions.rename(people.machine, people.admin, "Peaks", "of nickel")
    assert lines(people) == [("Renamed: it was “alice's machine”", "Admin Example", "")]


def test_a_console_that_was_opened_is_named_once_an_hour(people: Facility) -> None:
    standing = Standing(Relation.OWNER, Role.CONTROL)
    facts = {"generation": 1, "host": "127.0.0.1", "port": 5900, "password": "console!"}
    ticket = Ticket(people.machine.pk, people.alice.pk, "alice", Which.CONSOLE, standing, **facts)  # type: ignore[arg-type]
    for _time in range(2):
        Visit(None, people.machine.uuid, ticket, None)._begin()  # type: ignore[arg-type]
    assert lines(people) == [("Console opened", ALICE, "")]
