"""Mail: composed in its reader's language from templates that a facility may override, sent by the worker.

A letter is a row until it is sent. One that could not be sent is tried again, later and later, for about two days.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import datetime, timedelta
from smtplib import SMTPException

from celery import shared_task
from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.db import transaction
from django.db.models import F
from django.template import TemplateDoesNotExist, TemplateSyntaxError
from django.template.loader import render_to_string, select_template
from django.urls import reverse
from django.utils import timezone, translation

from experiments.models import Role, User
from instances.models import Instance, Letter, MailGroup, NoMail
from instances.times import readable

log = logging.getLogger(__name__)

MAILED: dict[str, MailGroup] = {
    "life_idle": MailGroup.LIFE,
    "life_ending": MailGroup.LIFE,
    "life_sleeps": MailGroup.LIFE,
    "life_ended": MailGroup.LIFE,
    "life_deleted": MailGroup.LIFE,
    "life_back": MailGroup.LIFE,
    "given_up": MailGroup.LIFE,
    "host_lost": MailGroup.LIFE,
    "host_back": MailGroup.LIFE,
    "host_silent": MailGroup.STAFF,
    "host_well": MailGroup.STAFF,
    "host_sleeps": MailGroup.LIFE,
    "host_stops": MailGroup.LIFE,
    "host_open": MailGroup.LIFE,
    "sweep_held": MailGroup.STAFF,
    "time_asked": MailGroup.STAFF,
    "time_given": MailGroup.TIME,
    "time_refused": MailGroup.TIME,
    "member_added": MailGroup.PEOPLE,
    "handed_over": MailGroup.PEOPLE,
}
"""The notices that are told by mail too; each has a template mail/<kind>.txt."""

CLAIM = timedelta(minutes=5)
"""For so long one worker has a letter to itself; one that dies over it leaves it to the next."""

FIRST_WAIT, LAST_WAIT = timedelta(minutes=1), timedelta(hours=6)
ATTEMPTS = 16
KEPT = timedelta(days=30)
UNWRITABLE = (TemplateDoesNotExist, TemplateSyntaxError)
"""What a facility's own words may do wrong: as a mail server that is away, it costs a delay, and staff see it."""
BATCH = 200


def write(people: Iterable[int], kind: str, instance: Instance | None, facts: dict[str, str]) -> None:
    """Write a letter to each of these people (row numbers) who wants such mail and has an address."""
    if kind not in MAILED:
        return
    unwanted = NoMail.objects.filter(group=MAILED[kind]).values("user")
    readers = User.objects.filter(pk__in=list(people), is_active=True).exclude(email="").exclude(pk__in=unwanted)
    letters = [Letter(user=reader, kind=kind, instance=instance, facts=facts) for reader in readers]
    for letter in Letter.objects.bulk_create(letters):
        _ring(letter.pk)


def choices(user: User) -> list[tuple[str, str, bool]]:
    """The groups of mail that concern the person: name, words, and whether they want it."""
    unwanted = set(NoMail.objects.filter(user=user).values_list("group", flat=True))
    groups = [group for group in MailGroup if group != MailGroup.STAFF or user.has_role(Role.ADMIN)]
    return [(group.value, str(group.label), group.value not in unwanted) for group in groups]


def choose(user: User, wanted: Iterable[str]) -> None:
    """From now on the person gets these groups of mail and no others."""
    unwanted = set(MailGroup.values) - set(wanted)
    with transaction.atomic():
        NoMail.objects.filter(user=user).exclude(group__in=unwanted).delete()
        NoMail.objects.bulk_create([NoMail(user=user, group=group) for group in unwanted], ignore_conflicts=True)


def _ring(letter_id: int) -> None:
    transaction.on_commit(lambda: deliver.delay(letter_id), robust=True)


@shared_task
def deliver(letter_id: int) -> None:
    """Send one letter, unless another worker has it or it was sent."""
    now = timezone.now()
    mine = Letter.objects.filter(pk=letter_id, next_at__lte=now)
    if not mine.update(next_at=now + CLAIM, attempts=F("attempts") + 1):
        return
    letter = Letter.objects.select_related("user", "instance__owner").get(pk=letter_id)
    try:
        compose(letter).send()
    except (SMTPException, OSError, *UNWRITABLE) as error:
        log.warning("letter %s could not be sent: %r", letter_id, error)
        Letter.objects.filter(pk=letter_id).update(problem=f"{error!r}"[:300], next_at=_again(letter.attempts))
    else:
        Letter.objects.filter(pk=letter_id).update(sent_at=timezone.now(), next_at=None, problem="")


def _again(attempts: int) -> datetime | None:
    if attempts >= ATTEMPTS:
        return None
    wait: timedelta = min(FIRST_WAIT * 2**attempts, LAST_WAIT)
    return timezone.now() + wait


@shared_task
def deliver_due() -> None:
    """Ring for letters whose ring was lost or whose time has come again; forget those sent long ago."""
    now = timezone.now()
    for pk in Letter.objects.filter(next_at__lte=now - timedelta(seconds=10)).values_list("pk", flat=True)[:BATCH]:
        deliver.delay(pk)
    Letter.objects.filter(next_at=None, written_at__lt=now - KEPT).delete()


def compose(letter: Letter) -> EmailMultiAlternatives:
    """The mail as text and HTML. The text template's first part, up to a line of three dashes, is the subject."""
    with translation.override(letter.user.language or settings.LANGUAGE_CODE):
        page = reverse("machine", args=[letter.instance.uuid]) if letter.instance else reverse("home")
        facts = {"person": letter.user, "machine": letter.instance, "url": settings.PUBLIC_URL + page}
        facts |= {"site": settings.PUBLIC_URL, **readable(letter.facts)}
        subject, _line, text = render_to_string(f"mail/{letter.kind}.txt", facts).partition("\n---\n")
        facts |= {"subject": " ".join(subject.split()), "text": text.strip()}
        html = select_template([f"mail/{letter.kind}.html", "mail/letter.html"]).render(facts)
    mail = EmailMultiAlternatives(facts["subject"], facts["text"] + "\n", to=[letter.user.email])
    mail.attach_alternative(html, "text/html")
    mail.extra_headers["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's holiday reply is wanted
    return mail
