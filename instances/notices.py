"""The one place that tells a person something: a row behind the bell, and a word to the pages that are open.

A notice keeps what happened as a kind and its facts; it becomes a sentence in the language of whoever reads it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from django.db import transaction
from django.db.models import QuerySet
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from experiments.models import User
from instances import letters, signals
from instances.models import Instance, Notice
from instances.times import readable

KEPT = timedelta(days=90)
"""How long a notice that was read can be looked up again."""


class Kind(StrEnum):
    SUPPORT_ASKS = "support_asks"
    SUPPORT_LET_IN = "support_let_in"
    SUPPORT_REFUSED = "support_refused"
    SUPPORT_UNANSWERED = "support_unanswered"
    SUPPORT_ENTERED = "support_entered"
    SUPPORT_ENDED = "support_ended"
    SUPPORT_OVER = "support_over"
    HELP_WANTED = "help_wanted"
    HELP_COMES = "help_comes"
    HELP_DONE = "help_done"
    MEMBER_ADDED = "member_added"
    MEMBER_JOINED = "member_joined"
    MEMBER_REMOVED = "member_removed"
    HANDED_OVER = "handed_over"
    OWNER_CHANGED = "owner_changed"
    LIFE_IDLE = "life_idle"
    LIFE_ENDING = "life_ending"
    LIFE_SLEEPS = "life_sleeps"
    LIFE_ENDED = "life_ended"
    LIFE_DELETED = "life_deleted"
    LIFE_BACK = "life_back"
    GIVEN_UP = "given_up"
    HOST_SLEEPS = "host_sleeps"
    HOST_STOPS = "host_stops"
    HOST_OPEN = "host_open"
    SWEEP_HELD = "sweep_held"
    HOST_LOST = "host_lost"
    HOST_BACK = "host_back"
    HOST_SILENT = "host_silent"
    HOST_WELL = "host_well"
    TIME_ASKED = "time_asked"
    TIME_GIVEN = "time_given"
    TIME_REFUSED = "time_refused"


@dataclass(frozen=True)
class Sentence:
    """`words` name the facts that fill them; `machine` is always there. `leads_to` is the name of an address.

    `detail` is a fact that somebody wrote, which is shown below the sentence.
    """

    words: Promise
    icon: str
    leads_to: str = "machine"
    detail: str = ""


SENTENCES: dict[Kind, Sentence] = {
    Kind.SUPPORT_ASKS: Sentence(_("%(who)s of support asks to join “%(machine)s”."), "life-buoy", detail="reason"),
    Kind.SUPPORT_LET_IN: Sentence(_("%(who)s let you in to “%(machine)s”."), "log-in", "desktop"),
    Kind.SUPPORT_REFUSED: Sentence(_("%(who)s does not want help on “%(machine)s” now."), "circle-x"),
    Kind.SUPPORT_UNANSWERED: Sentence(
        _("%(who)s did not answer. You may ask again to join “%(machine)s”."), "clock", "support"
    ),
    Kind.SUPPORT_ENTERED: Sentence(
        _("%(who)s of support entered “%(machine)s” while you were away."), "life-buoy", detail="reason"
    ),
    Kind.SUPPORT_ENDED: Sentence(_("%(who)s ended the support on “%(machine)s”."), "log-out"),
    Kind.SUPPORT_OVER: Sentence(_("The time of %(who)s on “%(machine)s” is over."), "clock"),
    Kind.HELP_WANTED: Sentence(_("%(who)s calls for help on “%(machine)s”."), "life-buoy", "support", detail="message"),
    Kind.HELP_COMES: Sentence(_("%(who)s comes to help on “%(machine)s”."), "life-buoy", "desktop"),
    Kind.LIFE_IDLE: Sentence(_("“%(machine)s” is idle and goes to sleep %(when)s."), "moon-star"),
    Kind.LIFE_ENDING: Sentence(_("“%(machine)s” comes to its end %(when)s."), "clock"),
    Kind.LIFE_SLEEPS: Sentence(_("“%(machine)s” sleeps now: nobody used it. Opening it wakes it."), "moon-star"),
    Kind.LIFE_ENDED: Sentence(_("“%(machine)s” came to its end. It is deleted %(when)s."), "clock"),
    Kind.LIFE_DELETED: Sentence(_("“%(machine)s” was deleted after its end."), "trash-2", "machines-past"),
    Kind.LIFE_BACK: Sentence(_("%(who)s brought “%(machine)s” back from the recycle bin."), "history"),
    Kind.GIVEN_UP: Sentence(_("Staff gave “%(machine)s” up: its host does not come back."), "trash-2", "machines-past"),
    Kind.HOST_SLEEPS: Sentence(
        _("“%(machine)s” was put to sleep, because its host is worked on. Nothing is lost."),
        "moon-star",
        detail="reason",
    ),
    Kind.HOST_STOPS: Sentence(
        _("“%(machine)s” was shut down, because its host is worked on."), "power-off", detail="reason"
    ),
    Kind.HOST_OPEN: Sentence(_("The host of “%(machine)s” is back: you can start it again."), "play"),
    Kind.SWEEP_HELD: Sentence(
        _("%(count)s machines would sleep or be deleted at once. Look at the limits, and allow it if it is right."),
        "triangle-alert",
        "admin:instances_lifepolicy_changelist",
    ),
    Kind.HOST_LOST: Sentence(
        _("The host of %(machines)s does not answer. Your files are kept; we tell you when it is back."),
        "wifi-off",
        "home",
    ),
    Kind.HOST_BACK: Sentence(_("The host of %(machines)s answers again."), "circle-check", "home"),
    Kind.HOST_SILENT: Sentence(
        _("Host %(host)s does not answer. Machines on it: %(count)s."), "wifi-off", "admin:instances_host_changelist"
    ),
    Kind.HOST_WELL: Sentence(
        _("Host %(host)s answers again. Machines on it: %(count)s."), "circle-check", "admin:instances_host_changelist"
    ),
    Kind.TIME_ASKED: Sentence(
        _("%(who)s asks for more time for “%(machine)s”."), "clock", "admin:instances_extension_changelist", "reason"
    ),
    Kind.TIME_GIVEN: Sentence(_("“%(machine)s” may live until %(when)s."), "clock", detail="words"),
    Kind.TIME_REFUSED: Sentence(_("No more time for “%(machine)s”."), "clock", detail="words"),
    Kind.HELP_DONE: Sentence(_("%(who)s closed the call for help on “%(machine)s”."), "check"),
    Kind.MEMBER_ADDED: Sentence(_("%(who)s shares “%(machine)s” with you."), "user-plus"),
    Kind.MEMBER_JOINED: Sentence(_("%(who)s came to “%(machine)s” by your link."), "user-plus"),
    Kind.MEMBER_REMOVED: Sentence(_("%(who)s no longer shares “%(machine)s” with you."), "log-out", "home"),
    Kind.HANDED_OVER: Sentence(_("%(who)s handed “%(machine)s” over to you. It is yours now."), "key-round"),
    Kind.OWNER_CHANGED: Sentence(_("“%(machine)s” belongs to %(who)s now."), "key-round"),
}


@dataclass(frozen=True)
class Told:
    """A notice as it is read."""

    notice: Notice

    @property
    def _sentence(self) -> Sentence:
        return SENTENCES[Kind(self.notice.kind)]

    @property
    def icon(self) -> str:
        return self._sentence.icon

    @property
    def text(self) -> str:
        machine = self.notice.instance.name if self.notice.instance else ""
        return str(self._sentence.words) % {"machine": machine, **readable(self.notice.facts)}

    @property
    def detail(self) -> str:
        return str(self.notice.facts.get(self._sentence.detail, ""))

    @property
    def url(self) -> str:
        name = self._sentence.leads_to
        of_a_machine = self.notice.instance and name in {"machine", "desktop"}
        return reverse(name, args=[self.notice.instance.uuid] if self.notice.instance and of_a_machine else [])


def tell(people: Iterable[User], kind: Kind, instance: Instance | None = None, **facts: str) -> None:
    """Tell each of these people once, after commit."""
    ids = sorted({person.pk for person in people})
    Notice.objects.bulk_create(Notice(user_id=pk, kind=kind, instance=instance, facts=facts) for pk in ids)
    letters.write(ids, kind, instance, facts)
    transaction.on_commit(lambda: signals.noticed.send(Notice, user_ids=ids), robust=True)


def of(user: User) -> QuerySet[Notice]:
    """What the person was told, the latest first."""
    return Notice.objects.filter(user=user).select_related("instance").order_by("-pk")


def unread(user: User) -> int:
    return Notice.objects.filter(user=user, read_at=None).count()


def read(notices: QuerySet[Notice]) -> None:
    """Mark as read; the person's other pages hear of it."""
    fresh = notices.filter(read_at=None)
    ids = sorted(set(fresh.order_by().values_list("user_id", flat=True)))
    fresh.update(read_at=timezone.now())
    transaction.on_commit(lambda: signals.noticed.send(Notice, user_ids=ids), robust=True)


def forget() -> None:
    """Delete what was read long ago."""
    Notice.objects.filter(read_at__lt=timezone.now() - KEPT).delete()
