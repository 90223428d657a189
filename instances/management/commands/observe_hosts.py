"""`manage.py observe_hosts`: the observer's process."""

import gc
import signal
from threading import Event

from django.core.management.base import BaseCommand

from instances import watching


class Command(BaseCommand):
    help = "Watch all hosts and write what they say into the database. One process for the whole facility."

    def handle(self, *args: object, **options: object) -> None:
        stop = Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        gc.collect()
        gc.freeze()  # what is loaded by now stays, and need not be gone through again and again
        watching.run(stop)
