"""What templates need to write icons, sizes and times."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import lru_cache

from django import template
from django.conf import settings
from django.templatetags.static import static
from django.utils import formats, timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from experiments.models import User
from instances import notices
from instances.sentences import told

register = template.Library()
register.filter("told", told)

MINUTE, HOUR, DAY = 60, 3600, 86_400  # seconds
FALLBACK_ICON = "monitor"


@lru_cache(maxsize=1)
def _icons() -> frozenset[str]:
    return frozenset((settings.BASE_DIR / "deploy" / "icons.txt").read_text().split())


@register.simple_tag
def icon(name: str, extra: str = "") -> SafeString:
    """An icon of the sprite, hidden from screen readers: words stand beside it. Unknown names become a monitor."""
    known = name if name in _icons() else FALLBACK_ICON
    address = f"{static('vendor/icons.svg')}#{known}"
    return format_html('<svg class="icon {}" aria-hidden="true"><use href="{}"></use></svg>', extra, address)


@register.inclusion_tag("instances/_bell.html")
def bell(user: User) -> dict[str, int]:
    """The bell, with how much the person has not read."""
    return {"unread": notices.unread(user)}


@register.filter
def memory(mib: int) -> str:
    """Mebibytes as people say them: 512 MB, 4 GB, 1.5 GB."""
    if mib < 1024:
        return _("%(n)s MB") % {"n": mib}
    gib = mib / 1024
    return _("%(n)s GB") % {"n": formats.number_format(gib, 0 if gib == int(gib) else 1)}


@register.filter
def disk(gib: int) -> str:
    return _("%(n)s GB") % {"n": formats.number_format(gib, 0)}


@register.filter
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


@register.filter
def moment(when: datetime | None) -> str:
    """Day and time in the reader's time zone: Sat 5 Dec, 14:05."""
    if when is None:
        return ""
    return f"{day(when)}, {formats.time_format(timezone.localtime(when), 'H:i')}"


@register.filter
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


@register.filter
def took(seconds: float | None) -> str:
    """A short length of time: 42 s, 3 min 05 s."""
    if seconds is None:
        return ""
    whole = int(seconds)
    if whole < MINUTE:
        return _("%(s)d s") % {"s": whole}
    return _("%(m)d min %(s)02d s") % {"m": whole // MINUTE, "s": whole % MINUTE}
