"""`manage.py seed_demo`: fill a new installation with an invented facility. May be run at every start."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from instances.images import ImageRefused
from instances.models import Image
from visa_site.demo import catalogue, people, signins


class Command(BaseCommand):
    help = "Make the demo facility: people, instruments, experiments, images, sizes and this machine as host."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--without-images", action="store_true", help="do not look for images that were built")

    def handle(self, *args: Any, **options: Any) -> None:
        facts = people.facility()
        file = settings.VISA_HOME / "demo-signins.json"
        kept = signins.read(file)
        names = [row["username"] for row in facts["person"] if row.get("signs_in")]
        try:
            with transaction.atomic():
                new = people.seed_people(facts)
                people.seed_experiments(facts)
                catalogue.seed_host()
                catalogue.seed_flavours(facts)
                images = [] if options["without_images"] else catalogue.seed_images(settings.VISA_IMAGES)
                known = signins.settle(names, new, kept)
        except ImageRefused as error:
            raise CommandError(f"An image in {settings.VISA_IMAGES} cannot be used: {error}") from error
        except ValidationError as error:
            raise CommandError(f"The host cannot be set up as the environment says: {error.messages}") from error
        # After the commit: were it before, a crash between the two would leave passwords that nobody has.
        signins.write(file, known)
        self._say(images)

    def _say(self, images: list[Image]) -> None:
        offered = ", ".join(str(image) for image in images) or "none found"
        self.stdout.write(f"The demo facility is there. Images: {offered}.")
