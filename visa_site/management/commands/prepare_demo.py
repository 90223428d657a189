"""`manage.py prepare_demo`: tables, demo facility and host in one go, as starting Python thrice would take longer."""

from django.core.management import call_command
from django.core.management.base import BaseCommand

from instances import alive
from visa_site.health import PROCESSES


class Command(BaseCommand):
    help = "migrate, seed_demo and prepare_hosts, one after the other. May be repeated."
    requires_system_checks = []  # a second of every start; `make check` has made them

    def handle(self, *args: object, **options: object) -> None:
        alive.forget(*PROCESSES)
        self.stdout.write("bringing the database up to date")
        call_command("migrate", interactive=False, verbosity=0)
        self.stdout.write("filling in what the demo facility lacks")
        call_command("seed_demo", stdout=self.stdout)
        self.stdout.write("preparing the host's storage and network for machines")
        call_command("prepare_hosts", stdout=self.stdout, stderr=self.stderr)
