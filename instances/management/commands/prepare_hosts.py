"""`manage.py prepare_hosts`: pool, network and images on every host, with progress in words."""

from collections.abc import Callable
from contextlib import closing

from django.core.management.base import BaseCommand, CommandError

from instances import carriage
from instances.drivers import open_host
from instances.drivers.base import DriverError
from instances.models import Carriage, Host, Image, Visibility
from instances.specs import host_spec
from instances.tasks import write_capacity


class Command(BaseCommand):
    help = "Make the storage pool and the network on every host and carry the images there."

    def handle(self, *args: object, **options: object) -> None:
        failed = [host.name for host in Host.objects.filter(enabled=True) if not self._prepare(host)]
        if failed:
            raise CommandError(f"Not ready: {', '.join(failed)}. The reasons stand above.")

    def _prepare(self, host: Host) -> bool:
        try:
            with closing(open_host(host_spec(host))) as driver:
                driver.prepare()
                for image in Image.objects.exclude(visibility=Visibility.NOBODY):
                    self._carry(host, image)
                write_capacity(host, driver)
        except DriverError as error:
            self.stderr.write(f"{host.name}: {error}")
            return False
        self.stdout.write(f"{host.name}: ready")
        return True

    def _carry(self, host: Host, image: Image) -> None:
        """One that is there is looked at again: somebody may have removed it."""
        carried = Carriage.of(host, image)
        carriage.ask(carried)
        carriage.carry(carried.pk, self._say(str(image)))
        carried.refresh_from_db()
        if carried.problem:
            raise DriverError(carried.problem)

    def _say(self, name: str) -> Callable[[int, int], None]:
        shown = -1

        def progress(done: int, size: int) -> None:
            nonlocal shown
            tenth = done * 10 // max(size, 1)
            if tenth != shown:
                shown = tenth
                self.stdout.write(f"  {name}: {tenth * 10} %")

        return progress
