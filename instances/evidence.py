"""Why a machine is kept, and what becomes of it: the verdict in words."""

from __future__ import annotations

from datetime import datetime

from django.utils import formats
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from instances.limits import Facts, Verdict, Why
from instances.times import moment, readable, span


def sentence(found: Verdict, facts: Facts, now: datetime) -> str:
    """What a card says of the machine's use.

    “Working: python3 at 180% CPU”; “Idle for 3 hours, sleeps Tue 4 Mar, 14:05”.
    """
    if found.why == Why.IDLE:
        return _idle(found, now)
    words = {
        Why.PINNED: _("Kept by staff: it has no end and does not fall asleep"),
        Why.JOB: _("Working: %(job)s"),
        Why.KERNEL: _("Working: %(kernel)s"),
        Why.WORKING: _("Working: %(busiest)s at %(percent)s%% CPU")
        if facts.busiest
        else _("Working: %(percent)s%% CPU"),
        Why.AWAKE: _("Kept awake until %(awake)s"),
        Why.USED: _("In use"),
        Why.UNSEEN: _("Its host has not been seen for a while; nothing is taken meanwhile"),
        Why.ENDING: _("Comes to its end %(taken)s, then sleeps"),
        Why.ENDED: _("Its time is over; it is deleted %(taken)s"),
    }
    return words.get(found.why, "") % {
        "job": facts.job,
        "kernel": facts.kernel,
        "busiest": facts.busiest,
        "percent": formats.number_format(round(facts.load), 0),
        "awake": moment(facts.awake_until),
        "taken": moment(found.taken_at),
    }


def _idle(found: Verdict, now: datetime) -> str:
    for_how_long = span(now - found.since) if found.since else ""
    if found.taken_at is None:
        return _("Idle for %(span)s") % {"span": for_how_long}
    return _("Idle for %(span)s, sleeps %(when)s") % {"span": for_how_long, "when": moment(found.taken_at)}


def kernel_words(busy: bool, since: datetime, now: datetime) -> str:
    """How it stands with a notebook."""
    words = _("busy for %(span)s") if busy else _("idle for %(span)s")
    return words % {"span": span(now - since)}


BIN_OVER = gettext_noop("Its days in the recycle bin were over.")

REASONS = {
    Why.IDLE: gettext_noop("Nobody used it, and nothing worked in it."),
    Why.ENDED: gettext_noop("Its time was over."),
}
"""Why a machine was put to sleep or deleted, as its history keeps it."""


def entry_words(kind: str, facts: dict[str, str]) -> str:
    """An entry of the history in plain words."""
    words = {
        "warned_idle": _("Owner told that it is idle and sleeps %(when)s"),
        "warned_end": _("Owner told that it comes to its end %(when)s"),
        "awake": _("Kept awake until %(when)s"),
        "not_awake": _("No longer kept awake"),
        "pinned": _("Kept by staff: no end, no sleep"),
        "unpinned": _("No longer kept by staff"),
        "end_set": _("End set to %(when)s"),
        "time_asked": _("More time asked for"),
        "time_given": _("More time given: ends %(when)s"),
        "time_refused": _("More time refused"),
        "moved": _("Moved to another host"),
        "renamed": _("Renamed: it was “%(before)s”"),
        "link_made": _("Link made for others to come in: %(name)s"),
        "link_withdrawn": _("Link withdrawn: %(name)s"),
        "public_on": _("Public view link made"),
        "public_off": _("Public view link withdrawn"),
        "support_asked": _("Support asked to join"),
        "support_let_in": _("%(who)s of support was let in"),
        "support_refused": _("%(who)s of support was not let in"),
        "support_unanswered": _("%(who)s of support got no answer"),
        "support_entered": _("Support came in while the owner was away"),
        "support_ended": _("Support by %(who)s ended"),
        "help_called": _("Help called for"),
        "help_came": _("Support came to help"),
        "help_done": _("Call for help closed"),
        "console": _("Console opened"),
    }.get(kind, kind)
    return words % readable(facts)
