"""What time alone decides about people at machines. Every task may run twice, or late, without harm."""

from __future__ import annotations

from celery import shared_task
from django.utils import timezone

from desktops import support


@shared_task
def attend() -> None:
    """Requests that nobody answered, support whose time is over, calls for help that nobody took."""
    support.attend(timezone.now())
