"""The chat beside a machine: who reads and writes it, what is kept, and that nothing is missing or there twice."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.test import Client
from django.utils import timezone

from desktops import chat, rooms
from desktops.models import AccessRequest, ChatMessage, ChatRead, Invitation, Pass
from desktops.models.chat import MAX_TEXT
from experiments.models import User
from instances.actions import NotAllowed, Refused
from instances.models import Member, MemberRole
from instances.states import State
from tests.desktops.rooms import granted, looks
from tests.people import Facility, facility

pytestmark = pytest.mark.django_db


@pytest.fixture
def people() -> Facility:
    return facility()


def say(user: User, people: Facility, text: str = "Hello", key: UUID | None = None) -> ChatMessage:
    return chat.send(user, people.machine, key or uuid4(), text)


def texts(user: User, people: Facility, after: int = 0) -> list[str]:
    return [message["text"] for message in chat.history(user, people.machine, after)["messages"]]


def test_members_read_what_members_write(people: Facility) -> None:
    say(people.alice, people, "The cryostat is cold.")
    say(people.bob, people, "Good.")
    assert texts(people.bob, people) == ["The cryostat is cold.", "Good."]
    first, second = chat.history(people.bob, people.machine)["messages"]
    assert first["who"] == {"id": str(people.alice.uuid), "name": "Alice Example"}
    assert (first["mine"], second["mine"]) == (False, True)


def test_the_same_message_twice_is_kept_once(people: Facility) -> None:
    key = uuid4()
    first = say(people.bob, people, "Once", key)
    assert say(people.bob, people, "Once", key) == first
    assert texts(people.bob, people) == ["Once"]


def test_two_people_may_make_the_same_key(people: Facility) -> None:
    key = uuid4()
    say(people.bob, people, "One", key)
    say(people.alice, people, "Two", key)
    assert len(texts(people.bob, people)) == 2


@pytest.mark.parametrize("text", ["", "   ", "\n\t", "\x00\x07"])
def test_nothing_is_not_a_message(people: Facility, text: str) -> None:
    with pytest.raises(Refused) as refusal:
        say(people.bob, people, text)
    assert refusal.value.field == "text"


def test_too_much_is_told_with_its_size_and_not_cut(people: Facility) -> None:
    say(people.bob, people, "x" * MAX_TEXT)
    with pytest.raises(Refused, match="2001"):
        say(people.bob, people, "x" * (MAX_TEXT + 1))


def test_control_characters_are_left_out_and_lines_are_kept(people: Facility) -> None:
    assert say(people.bob, people, "\x1b[31mred\x00\r\n\tand\x7f 漢字 👩‍🔬 ").text == "[31mred\n\tand 漢字 👩‍🔬"


def test_what_looks_like_html_is_kept_as_it_was_written(people: Facility) -> None:
    assert say(people.bob, people, "<script>alert(1)</script>").text == "<script>alert(1)</script>"


def test_twenty_messages_at_once_are_enough(people: Facility) -> None:
    for _ in range(chat.AT_ONCE):
        say(people.bob, people)
    with pytest.raises(Refused, match="Wait a few seconds"):
        say(people.bob, people)
    say(people.alice, people)
    ChatMessage.objects.update(at=timezone.now() - chat.WITHIN)
    say(people.bob, people)


def test_a_repeated_message_is_never_too_much(people: Facility) -> None:
    key = uuid4()
    for _ in range(chat.AT_ONCE):
        say(people.bob, people, key=key)
    for _ in range(chat.AT_ONCE - 1):
        say(people.bob, people)
    assert say(people.bob, people, key=key).text == "Hello"


def test_history_comes_in_pages_and_says_whether_more_follows(people: Facility) -> None:
    ChatMessage.objects.bulk_create(
        ChatMessage(instance=people.machine, author=people.alice, text=str(number)) for number in range(250)
    )
    first = chat.history(people.bob, people.machine)
    assert (len(first["messages"]), first["more"]) == (200, True)
    rest = chat.history(people.bob, people.machine, first["messages"][-1]["n"])
    assert ([message["text"] for message in rest["messages"]], rest["more"]) == (
        [str(n) for n in range(200, 250)],
        False,
    )


def test_history_before_a_message_ends_with_the_one_before_it(people: Facility) -> None:
    ChatMessage.objects.bulk_create(
        ChatMessage(instance=people.machine, author=people.alice, text=str(number)) for number in range(250)
    )
    newest = chat.history(people.bob, people.machine, before=2**53 - 1)
    assert [message["text"] for message in newest["messages"]] == [str(n) for n in range(50, 250)]
    assert newest["more"]
    older = chat.history(people.bob, people.machine, before=newest["messages"][0]["n"])
    assert [message["text"] for message in older["messages"]] == [str(n) for n in range(50)]
    assert not older["more"]


def test_unread_are_the_others_messages_after_the_mark(people: Facility) -> None:
    for text in ("one", "two", "three"):
        last = say(people.alice, people, text)
    say(people.bob, people)
    assert rooms.unread(people.bob, people.machine) == 3
    chat.read(people.bob, people.machine, last.pk - 1)
    assert rooms.unread(people.bob, people.machine) == 1


def test_a_mark_moves_only_on_and_never_beyond_what_there_is(people: Facility) -> None:
    first, second = say(people.alice, people), say(people.alice, people)
    chat.read(people.bob, people.machine, second.pk)
    chat.read(people.bob, people.machine, first.pk)
    assert rooms.unread(people.bob, people.machine) == 0
    chat.read(people.bob, people.machine, 2**63 - 1)
    say(people.alice, people)
    assert rooms.unread(people.bob, people.machine) == 1


def test_strangers_and_support_without_consent_have_no_chat(people: Facility) -> None:
    """SEC-13"""
    for user in (people.charlie, people.sam, people.ines):
        for reach in (lambda: chat.history(user, people.machine), lambda: say(user, people)):  # noqa: B023
            with pytest.raises(NotAllowed):
                reach()


def test_who_came_by_a_public_link_has_no_chat(people: Facility) -> None:
    """SEC-13"""
    looks(people.alice, people.machine)
    link = Invitation.objects.create(
        instance=people.machine, name="All", role=MemberRole.GUEST, public=True, secret_hash="x"
    )
    Pass.objects.create(invitation=link, user=people.charlie)
    with pytest.raises(NotAllowed):
        chat.history(people.charlie, people.machine)
    assert get(people.charlie, people)[0] == 403


def test_support_reads_what_was_written_since_it_was_let_in_and_while_it_is(people: Facility) -> None:
    """SEC-13"""
    say(people.alice, people, "Between us")
    ChatMessage.objects.update(at=timezone.now() - timedelta(minutes=5))
    grant = granted(people.sam, people.machine)
    say(people.alice, people, "Hello Sam")
    assert texts(people.sam, people) == ["Hello Sam"]
    assert rooms.unread(people.sam, people.machine) == 1
    say(people.sam, people, "Hello Alice")
    grant.state = AccessRequest.State.ENDED
    grant.save()
    with pytest.raises(NotAllowed):
        chat.history(people.sam, people.machine)
    assert texts(people.bob, people) == ["Between us", "Hello Sam", "Hello Alice"]


def test_who_is_removed_reads_no_more(people: Facility) -> None:
    say(people.alice, people)
    Member.objects.get(user=people.bob).delete()
    with pytest.raises(NotAllowed):
        chat.history(people.bob, people.machine)


def test_what_a_deleted_person_wrote_stays_without_a_name(people: Facility) -> None:
    say(people.bob, people)
    people.bob.delete()
    assert chat.history(people.alice, people.machine)["messages"][0]["who"] is None


def test_with_the_machine_goes_its_chat(people: Facility, django_capture_on_commit_callbacks: Any) -> None:
    say(people.alice, people)
    chat.read(people.bob, people.machine, 2**60)
    with django_capture_on_commit_callbacks(execute=True):
        people.machine.transition(State.DELETING)
        people.machine.transition(State.DELETED)
    assert not ChatMessage.objects.exists()
    assert not ChatRead.objects.exists()


def get(user: User, people: Facility, query: str = "") -> tuple[int, dict[str, Any]]:
    client = Client()
    client.force_login(user)
    answer = client.get(f"/machines/{people.machine.uuid}/chat/{query}")
    return answer.status_code, answer.json()


def post(user: User, people: Facility, what: str, **form: object) -> tuple[int, dict[str, Any]]:
    client = Client()
    client.force_login(user)
    answer = client.post(f"/machines/{people.machine.uuid}/chat/{what}/", form)
    return answer.status_code, answer.json()


def test_pages_send_read_and_mark(people: Facility) -> None:
    assert post(people.bob, people, "send", key=uuid4(), text="<b>Hello</b>") == (200, {"ok": True})
    status, read = get(people.alice, people)
    assert (status, read["messages"][0]["text"], read["unread"]) == (200, "<b>Hello</b>", 1)
    assert post(people.alice, people, "read", upto=read["messages"][0]["n"]) == (200, {"ok": True})
    assert get(people.alice, people, f"?after={read['messages'][0]['n']}")[1] == {
        "messages": [],
        "more": False,
        "unread": 0,
    }


@pytest.mark.parametrize(
    ("what", "form", "field"),
    [
        ("send", {"text": "Hello"}, "key"),
        ("send", {"key": "x", "text": "Hello"}, "key"),
        ("send", {"key": uuid4(), "text": " "}, "text"),
        ("send", {"key": uuid4(), "text": "x" * 2001}, "text"),
        ("send", {"key": uuid4(), "text": "x" * 100_000}, "text"),
        ("read", {"upto": "all"}, "upto"),
        ("read", {"upto": 10**30}, "upto"),
        ("read", {"upto": -1}, "upto"),
    ],
)
def test_bad_input_is_told_at_its_field(people: Facility, what: str, form: dict[str, object], field: str) -> None:
    status, said = post(people.bob, people, what, **form)
    assert (status, said["field"]) == (400, field)
    assert said["error"]


@pytest.mark.parametrize("after", ["x", "-1", str(10**30), "1;drop"])
def test_a_bad_place_in_the_history_is_told(people: Facility, after: str) -> None:
    assert get(people.bob, people, f"?after={after}")[0] == 400


def test_programs_talk_too(people: Facility) -> None:
    client = Client()
    client.force_login(people.bob)
    address, key = f"/api/v1/instances/{people.machine.uuid}/chat/", str(uuid4())
    for _ in range(2):
        sent = client.post(address, {"key": key, "text": "The run has ended."}, content_type="application/json")
        assert sent.status_code == 204
    read = client.get(address).json()
    assert [message["text"] for message in read["messages"]] == ["The run has ended."]
    marked = client.post(f"{address}read/", {"upto": read["messages"][0]["n"]}, content_type="application/json")
    assert marked.status_code == 204
    wrong = client.post(address, {"key": key}, content_type="application/json")
    assert (wrong.status_code, list(wrong.json())) == (400, ["text"])
    client.force_login(people.charlie)
    assert client.get(address).status_code == 404
    client.force_login(people.sam)
    assert client.get(address).status_code == 403
