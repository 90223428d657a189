"""What this app tells within itself."""

from django.dispatch import Signal

came_or_went = Signal()
"""Somebody opened or closed a machine's screen. Argument: connection, as it then is."""
