"""What people are told: once, in their language, to them alone, and not for ever."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone, translation

from instances import notices
from instances.models import Notice
from instances.notices import SENTENCES, Kind, Told
from instances.signals import noticed
from tests.people import Facility, client_of, facility

pytestmark = pytest.mark.django_db
FOR_STAFF = {Kind.SWEEP_HELD, Kind.HOST_SILENT, Kind.HOST_WELL}


@pytest.fixture
def people() -> Facility:
    return facility()


def ask_alice(people: Facility, reason: str = "The disk is full.") -> Notice:
    notices.tell([people.alice], Kind.SUPPORT_ASKS, people.machine, who="Sam Example", reason=reason)
    return Notice.objects.latest("pk")


def test_a_notice_is_a_sentence_with_what_somebody_wrote_below(people: Facility) -> None:
    told = Told(ask_alice(people))
    assert told.text == "Sam Example of support asks to join “alice's machine”."
    assert told.detail == "The disk is full."
    assert told.url == reverse("machine", args=[people.machine.uuid])


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_has_a_sentence_that_its_facts_fill(people: Facility, kind: Kind) -> None:
    facts = {"who": "Sam Example", "when": "2026-03-04T12:00:00+00:00", "count": "12"}
    facts |= {"machines": "“alice's machine”", "host": "host-1"}
    notices.tell([people.alice], kind, people.machine, **facts)
    told = Told(Notice.objects.latest("pk"))
    assert ("12" if kind in FOR_STAFF else "alice's machine") in told.text
    assert told.url.startswith("/")
    assert SENTENCES[kind].icon


def test_it_is_told_in_the_readers_language(people: Facility) -> None:
    notice = ask_alice(people)
    with translation.override("fr"):
        french = str(SENTENCES[Kind.SUPPORT_ASKS].words)
        assert Told(notice).text == french % {"who": "Sam Example", "machine": people.machine.name}


def test_nobody_is_told_twice_of_one_thing(people: Facility) -> None:
    notices.tell([people.alice, people.bob, people.alice], Kind.HELP_DONE, people.machine, who="Sam")
    assert Notice.objects.count() == 2


def test_open_pages_hear_of_it_after_commit(people: Facility, django_capture_on_commit_callbacks: Any) -> None:
    heard: list[list[int]] = []
    listener = lambda sender, user_ids, **rest: heard.append(user_ids)  # noqa: E731 - signals keep weak references
    noticed.connect(listener)
    with django_capture_on_commit_callbacks(execute=True):
        ask_alice(people)
        assert not heard
    assert heard == [[people.alice.pk]]


def test_the_bell_counts_what_was_not_read(people: Facility) -> None:
    alice = client_of(people.alice)
    assert "count" not in alice.get("/notices/bell/").content.decode()
    ask_alice(people)
    ask_alice(people)
    assert ">2</strong>" in alice.get("/").content.decode()
    alice.post("/notices/read/")
    assert "count" not in alice.get("/notices/bell/").content.decode()


def test_a_notice_that_is_followed_is_read(people: Facility) -> None:
    first, second = ask_alice(people), ask_alice(people)
    answer = client_of(people.alice).post("/notices/read/", {"notice": first.uuid})
    assert answer["Location"] == f"/machines/{people.machine.uuid}/"
    assert list(Notice.objects.filter(read_at=None)) == [second]


def test_what_others_were_told_is_not_found(people: Facility) -> None:
    notice = ask_alice(people)
    bob = client_of(people.bob)
    assert "Sam Example" not in bob.get("/notices/").content.decode()
    assert bob.post("/notices/read/", {"notice": notice.uuid}).status_code == 404
    bob.post("/notices/read/")
    assert Notice.objects.get().read_at is None


@pytest.mark.parametrize("nonsense", ["", "x", "1" * 5000, "\x00"])
def test_nonsense_is_no_notice(people: Facility, nonsense: str) -> None:
    assert client_of(people.alice).post("/notices/read/", {"notice": nonsense}).status_code == 404


def test_what_somebody_wrote_is_shown_as_text(people: Facility) -> None:
    ask_alice(people, reason="<script>alert(1)</script> 100% %(who)s")
    page = client_of(people.alice).get("/notices/").content.decode()
    assert "<script>alert(1)" not in page
    assert "100% %(who)s" in page


def test_the_page_costs_the_same_however_much_was_told(people: Facility, django_assert_max_num_queries: Any) -> None:
    for _ in range(60):
        ask_alice(people)
    alice = client_of(people.alice)
    with django_assert_max_num_queries(8):
        page = alice.get("/notices/?page=2").content.decode()
    assert "Page 2 of 3" in page


def test_what_was_read_long_ago_is_forgotten(people: Facility) -> None:
    old, read, unread = ask_alice(people), ask_alice(people), ask_alice(people)
    now = timezone.now()
    Notice.objects.filter(pk=old.pk).update(read_at=now - timedelta(days=91))
    Notice.objects.filter(pk=read.pk).update(read_at=now - timedelta(days=89))
    Notice.objects.filter(pk=unread.pk).update(at=now - timedelta(days=400))
    notices.forget()
    assert set(Notice.objects.all()) == {read, unread}
