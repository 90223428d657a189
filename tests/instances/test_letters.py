"""Mail: who gets which, in which language, and what becomes of a letter that cannot be sent."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from smtplib import SMTPServerDisconnected
from typing import Any

import pytest
from django.core import mail
from django.core.mail.backends.locmem import EmailBackend
from django.test import Client, override_settings
from django.utils import timezone

from experiments.models import User
from instances import letters
from instances.letters import ATTEMPTS, MAILED, deliver, deliver_due
from instances.models import Letter, NoMail
from instances.notices import SENTENCES, Kind, tell
from tests.people import Facility, facility

pytestmark = pytest.mark.django_db

FOR_STAFF = {"sweep_held": "12 machines", "host_silent": "host-1", "host_well": "host-1"}
WHEN = "2026-03-04T12:00:00+00:00"


class BadMailServer(EmailBackend):
    """Hangs up on everybody."""

    def send_messages(self, messages: Any) -> int:
        raise SMTPServerDisconnected("Connection unexpectedly closed")


@pytest.fixture
def house(db: None) -> Facility:
    return facility()


def told(house: Facility, kind: Kind = Kind.LIFE_IDLE, **facts: str) -> Letter:
    tell([house.alice], kind, house.machine, **{"who": "Sam Example", "when": WHEN} | facts)
    return Letter.objects.latest("pk")


@pytest.mark.parametrize("kind", sorted(MAILED))
def test_every_letter_has_a_subject_words_and_a_way_to_the_page(house: Facility, kind: str) -> None:
    facts = {"reason": "Fits <b> & more", "words": "Until Monday & no longer", "count": "12"}
    letter = told(house, Kind(kind), machines="“alice's machine”", host="host-1", **facts)
    composed = letters.compose(letter)
    assert FOR_STAFF.get(kind, "alice's machine") in composed.subject
    assert "---" not in composed.body
    assert composed.body.startswith("Hello Alice Example,\n\n")
    assert "http://" in composed.body
    html = str(composed.alternatives[0][0])
    assert "<html lang=" in html
    assert "<b>" not in html
    assert "&#x27;" not in f"{composed.subject}{composed.body}"


def test_every_mailed_kind_is_a_notice() -> None:
    assert set(MAILED) <= {str(kind) for kind in SENTENCES}


def test_a_letter_is_sent_by_the_worker_once(house: Facility) -> None:
    letter = told(house)
    assert not mail.outbox
    deliver(letter.pk)
    deliver(letter.pk)
    assert [sent.to for sent in mail.outbox] == [["alice@example.org"]]
    letter.refresh_from_db()
    assert letter.sent_at is not None
    assert mail.outbox[0].extra_headers["Auto-Submitted"] == "auto-generated"


def test_it_is_written_in_its_readers_language(house: Facility) -> None:
    User.objects.filter(pk=house.alice.pk).update(language="fr")
    composed = letters.compose(Letter.objects.get(pk=told(house).pk))
    assert '<html lang="fr">' in str(composed.alternatives[0][0])


def test_who_does_not_want_it_gets_none_and_still_hears_the_bell(house: Facility) -> None:
    NoMail.objects.create(user=house.alice, group="life")
    tell([house.alice], Kind.LIFE_IDLE, house.machine, when=WHEN)
    assert not Letter.objects.exists()
    assert house.alice.notices.count() == 1


def test_who_has_no_address_or_left_gets_none(house: Facility) -> None:
    User.objects.filter(pk=house.alice.pk).update(email="")
    User.objects.filter(pk=house.bob.pk).update(is_active=False)
    tell([house.alice, house.bob], Kind.LIFE_IDLE, house.machine, when=WHEN)
    assert not Letter.objects.exists()


def test_a_notice_of_the_moment_is_no_letter(house: Facility) -> None:
    tell([house.alice], Kind.SUPPORT_ASKS, house.machine, who="Sam", reason="x")
    assert not Letter.objects.exists()


@override_settings(EMAIL_BACKEND="tests.instances.test_letters.BadMailServer")
def test_a_letter_that_cannot_be_sent_waits_longer_each_time_and_is_given_up(house: Facility) -> None:
    letter, waits = told(house), []
    for _attempt in range(ATTEMPTS):
        deliver(letter.pk)
        letter.refresh_from_db()
        if letter.next_at:
            waits.append(letter.next_at - timezone.now())
        Letter.objects.filter(pk=letter.pk, next_at__isnull=False).update(next_at=timezone.now())
    assert all(before < after + timedelta(minutes=1) for before, after in pairwise(waits))
    assert waits[0] < timedelta(minutes=3)
    assert sum(waits, timedelta()) > timedelta(days=1)
    assert (letter.next_at, letter.sent_at, letter.attempts) == (None, None, ATTEMPTS)
    assert "SMTPServerDisconnected" in letter.problem


@override_settings(EMAIL_BACKEND="tests.instances.test_letters.BadMailServer")
def test_a_mail_server_that_is_away_stops_nothing_else(house: Facility) -> None:
    deliver(told(house).pk)
    assert house.alice.notices.count() == 1


def test_a_lost_ring_is_rung_again(house: Facility, monkeypatch: pytest.MonkeyPatch) -> None:
    letter = told(house)
    rung: list[int] = []
    monkeypatch.setattr(deliver, "delay", rung.append)
    deliver_due()
    assert not rung
    Letter.objects.update(next_at=timezone.now() - timedelta(minutes=1))
    deliver_due()
    assert rung == [letter.pk]


def test_letters_of_long_ago_are_forgotten(house: Facility) -> None:
    letter = told(house)
    deliver(letter.pk)
    Letter.objects.update(written_at=timezone.now() - timedelta(days=31))
    deliver_due()
    assert not Letter.objects.exists()


def test_a_facility_writes_its_own_words(house: Facility, tmp_path: Path, settings: Any) -> None:
    (tmp_path / "mail").mkdir()
    (tmp_path / "mail" / "life_idle.txt").write_text("Our own subject\n---\nOur own words about {{ machine.name }}")
    own = dict(settings.TEMPLATES[0], DIRS=[tmp_path, *settings.TEMPLATES[0]["DIRS"]])
    settings.TEMPLATES = [own]
    composed = letters.compose(told(house))
    assert composed.subject == "Our own subject"
    assert composed.body.startswith("Our own words about")


def test_a_facilitys_broken_words_cost_a_delay_and_are_shown_to_staff(
    house: Facility, tmp_path: Path, settings: Any
) -> None:
    (tmp_path / "mail").mkdir()
    (tmp_path / "mail" / "time_given.txt").write_text("{% nonsense %}")
    settings.TEMPLATES = [settings.TEMPLATES[0] | {"DIRS": [tmp_path, *settings.TEMPLATES[0]["DIRS"]]}]
    deliver(told(house, Kind.TIME_GIVEN).pk)
    letter = Letter.objects.get()
    assert (letter.sent_at, letter.attempts) == (None, 1)
    assert "nonsense" in letter.problem


def test_a_person_chooses_in_the_profile(house: Facility) -> None:
    client = Client()
    client.force_login(house.alice)
    client.post("/profile/mail/", {"group": ["time"]})
    assert [group for group, _label, wanted in letters.choices(house.alice) if wanted] == ["time"]
    client.post("/profile/mail/", {"group": ["time", "life", "nonsense"]})
    assert [group for group, _label, wanted in letters.choices(house.alice) if wanted] == ["life", "time"]
    assert "staff" not in client.get("/profile/").content.decode().split('id="mail-title"')[1].split("</form>")[0]
