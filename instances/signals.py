"""What the machines tell the apps above. Each is sent after commit, with `instance` as it then is."""

from django.dispatch import Signal

transitioned = Signal()
"""A machine changed its state. Arguments: instance, transition."""

observed = Signal()
"""Something else that people see changed: a step of the start, readiness, the picture. Arguments: instance, what."""

noticed = Signal()
"""People were told something, or read it. Argument: user_ids, their row numbers."""
