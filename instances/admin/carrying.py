"""Which images are on which hosts, as a table on the pages of both; it renews itself while something is on its way."""

from __future__ import annotations

from collections.abc import Iterable

from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from instances.models import Carriage

SCRIPT = "admin/carried.js"


def table(rows: Iterable[Carriage], *, of: str) -> SafeString:
    """The carriages of one page; `of` is "image" or "host", whose page it is, and the other one is named."""
    rows = list(rows)
    moving = any(carried.is_moving for carried in rows)
    return render_to_string("admin/instances/_carried.html", {"rows": rows, "of": of, "moving": moving})
