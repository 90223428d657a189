"""What time alone decides about people at machines. Every task may run twice, or late, without harm."""

from __future__ import annotations

from celery import shared_task
from django.utils import timezone

from desktops import baton, support


@shared_task
def attend() -> None:
    """Requests that nobody answered, support whose time is over, calls that nobody took; the baton of who left."""
    now = timezone.now()
    support.attend(now)
    baton.attend(now)
