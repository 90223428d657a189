"""`manage.py register_image`: add an existing qcow2 file to the images on offer."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from instances.images import ImageRefused, inspect_image
from instances.models import Image, ImageProtocol, Protocol, Visibility


class Command(BaseCommand):
    help = "Check a qcow2 file and add it as an image; offer it afterwards by a plan in the administration."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("path", help="the file, on the machine of the workers")
        parser.add_argument("--name", required=True)
        parser.add_argument("--version", required=True, dest="image_version")
        parser.add_argument("--description", default="")
        parser.add_argument("--sha256", default="", help="what its bytes must be; else whatever they are")
        parser.add_argument("--visibility", choices=Visibility.values, default=Visibility.EVERYONE)
        parser.add_argument(
            "--protocol",
            action="append",
            metavar="KIND=PORT",
            help="how its machines are reached, such as jupyter=8888; may be repeated (default: vnc=5901)",
        )

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> Any:
        # Django's own --version would take the name away from the image's.
        return super().create_parser(prog_name, subcommand, conflict_handler="resolve", **kwargs)

    def handle(self, *args: Any, **options: Any) -> None:
        protocols = [_protocol(text) for text in options["protocol"] or ["vnc=5901"]]
        try:
            facts = inspect_image(str(Path(options["path"]).resolve()), options["sha256"])
        except ImageRefused as refusal:
            raise CommandError(str(refusal)) from refusal
        image = Image(
            name=options["name"],
            version=options["image_version"],
            description=options["description"],
            visibility=options["visibility"],
            path=facts.path,
            sha256=facts.sha256,
            virtual_size_gib=facts.virtual_size_gib,
        )
        try:
            with transaction.atomic():
                image.full_clean()
                image.save()
                for kind, port in protocols:
                    spoken = ImageProtocol(image=image, kind=kind, port=port)
                    spoken.full_clean()
                    spoken.save()
        except ValidationError as error:
            raise CommandError(_in_lines(error)) from error
        self.stdout.write(f"Added {image}: {facts.virtual_size_gib} GiB inside, SHA-256 {facts.sha256}.")


def _in_lines(error: ValidationError) -> str:
    """Each fault with the option that it belongs to."""
    options = {NON_FIELD_ERRORS: "", "kind": "--protocol: ", "port": "--protocol: "}
    faults = error.message_dict.items()
    return "\n".join(options.get(field, f"--{field}: ") + " ".join(messages) for field, messages in faults)


def _protocol(text: str) -> tuple[str, int]:
    kind, _, port = text.partition("=")
    if kind not in Protocol.values or not port.isdigit():
        raise CommandError(f"--protocol {text}: write one of {', '.join(Protocol.values)}, then = and a port.")
    return kind, int(port)
