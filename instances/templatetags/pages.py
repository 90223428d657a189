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
from instances import evidence, notices
from instances.models import Kernel
from instances.sentences import told
from instances.times import MINUTE, day, distance, moment, span

register = template.Library()
register.filter("told", told)

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


for _filter in (day, moment, distance):
    register.filter(_filter)


@register.filter
def minutes(count: int) -> str:
    """A number of minutes as people say it, exactly: 45 minutes, 90 minutes, 2 hours."""
    if count >= 60 and count % 60 == 0:
        return span(timedelta(minutes=count))
    return ngettext("%(n)d minute", "%(n)d minutes", count) % {"n": count}


@register.filter
def elapsed(since: datetime) -> str:
    return took((timezone.now() - since).total_seconds())


@register.filter
def kernel_words(kernel: Kernel) -> str:
    """Whether a notebook computes, and since when."""
    return evidence.kernel_words(kernel.busy, kernel.since, timezone.now())


@register.filter
def took(seconds: float | None) -> str:
    """A short length of time: 42 s, 3 min 05 s."""
    if seconds is None:
        return ""
    whole = int(seconds)
    if whole < MINUTE:
        return _("%(s)d s") % {"s": whole}
    return _("%(m)d min %(s)02d s") % {"m": whole // MINUTE, "s": whole % MINUTE}
