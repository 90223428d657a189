"""Moments and lengths of time as people say them, in the reader's language and time zone."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta

from django.utils import formats, timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

MINUTE, HOUR, DAY = 60, 3600, 86_400  # seconds


def day(when: datetime | None) -> str:
    """The day in the reader's time zone; with the year where it is not this one: Sat 5 Dec."""
    if when is None:
        return ""
    local = timezone.localtime(when)
    # Translators: a day of this year, Django's date format
    near = _("D j M")
    # Translators: a day of another year, Django's date format
    far = _("D j M Y")
    return formats.date_format(local, near if local.year == timezone.localtime().year else far)


def end_of_day(chosen: date) -> datetime:
    """The last minute of a day in the reader's time zone."""
    return timezone.make_aware(datetime.combine(chosen, time(23, 59)))


def moment(when: datetime | None) -> str:
    """Day and time in the reader's time zone: Sat 5 Dec, 14:05."""
    if when is None:
        return ""
    return f"{day(when)}, {formats.time_format(timezone.localtime(when), 'H:i')}"


def distance(when: datetime | None) -> str:
    """How far a moment is from now: in 13 days, 5 minutes ago, a moment ago."""
    if when is None:
        return ""
    apart = when - timezone.now()
    if abs(apart) < timedelta(minutes=1):
        return _("in a moment") if apart > timedelta(0) else _("a moment ago")
    return (_("in %(span)s") if apart > timedelta(0) else _("%(span)s ago")) % {"span": span(apart)}


def span(length: timedelta) -> str:
    """The largest sensible unit of a length of time, rounded: 13 days, 5 hours, 3 minutes."""
    seconds = abs(length).total_seconds()
    if round(seconds / HOUR) >= 24:
        days = round(seconds / DAY)
        return ngettext("%(n)d day", "%(n)d days", days) % {"n": days}
    if round(seconds / MINUTE) >= 60:
        hours = round(seconds / HOUR)
        return ngettext("%(n)d hour", "%(n)d hours", hours) % {"n": hours}
    minutes = max(1, round(seconds / MINUTE))
    return ngettext("%(n)d minute", "%(n)d minutes", minutes) % {"n": minutes}


def readable(facts: dict[str, str]) -> dict[str, str]:
    """The facts with the moment that `when` tells (ISO 8601) as its reader writes it."""
    when = facts.get("when")
    return facts | {"when": moment(datetime.fromisoformat(when))} if when else facts
