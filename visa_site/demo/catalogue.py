"""What the demo facility offers: its one host, the images that were built, sizes and plans."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

from experiments.models import Instrument
from instances.images import inspect_image
from instances.models import Flavour, FlavourLimit, Host, Image, ImageProtocol, Instance, Plan, Protocol, Visibility
from instances.states import ON_HOST
from visa_site.demo.people import Facts

HOST = "this machine"

INNER_NETWORKS = "10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 172.16.0.0/12 192.168.0.0/16"
"""Private networks (RFC 1918, RFC 6598): where a facility keeps what its visitors' machines should not reach."""

HOST_SETTINGS = {
    "VISA_LIBVIRT_URI": "uri",
    "VISA_POOL_NAME": "pool_name",
    "VISA_POOL_PATH": "pool_path",
    "VISA_VIRTUALISATION": "virtualisation",
    "VISA_NETWORK_NAME": "network_name",
    "VISA_NETWORK_CIDR": "network_cidr",
}
"""Names in the environment that decide, at each seeding, how the demo's host is used."""


def seed_host() -> Host:
    """The machine that VISA runs on. Only what the environment names is changed on one that exists.

    Raises ValidationError when a value in the environment makes no sense.
    """
    host = Host.objects.filter(name=HOST).first() or Host(name=HOST, blocked_networks=INNER_NETWORKS)
    for variable, field in HOST_SETTINGS.items():
        if os.environ.get(variable):
            setattr(host, field, os.environ[variable])
    host.full_clean()
    host.save()
    return host


def seed_flavours(facts: Facts) -> None:
    for row in facts["flavour"]:
        plain = {name: row[name] for name in ("description", "vcpus", "memory_mib", "disk_gib")}
        flavour, new = Flavour.objects.get_or_create(name=row["name"], defaults=plain)
        if new:
            instruments = Instrument.objects.filter(code__in=row.get("only_instruments", []))
            limits = [FlavourLimit(flavour=flavour, role=role) for role in row.get("only_roles", [])]
            limits += [FlavourLimit(flavour=flavour, instrument=instrument) for instrument in instruments]
            FlavourLimit.objects.bulk_create(limits)


def seed_images(folder: Path) -> list[Image]:
    """One image for each description that guest/build left in `folder`, with its plans; the fullest first.

    Raises ImageRefused when a file is not what its description says.
    """
    described = sorted(folder.glob("*.json"), key=lambda path: (path.stem != "full", path.stem))
    images = [_image(path) for path in described]
    for image in images:
        _plans(image)
    _preset(images)
    return images


def _image(description: Path) -> Image:
    facts = json.loads(description.read_text(encoding="utf-8"))
    path = str((description.parent / facts["file"]).resolve())
    known = Image.objects.filter(sha256=facts["sha256"]).first()
    if known:
        if known.path != path:
            Image.objects.filter(pk=known.pk).update(path=path)
        return known
    found = inspect_image(path, expected_sha256=facts["sha256"])
    image = _row_for(facts)
    image.path, image.sha256, image.virtual_size_gib = path, found.sha256, found.virtual_size_gib
    image.description = facts["description"]
    image.save()
    _protocols(image, jupyter=facts.get("jupyter", description.stem == "full"))
    return image


def _row_for(facts: Facts) -> Image:
    """The row that a new build goes to: a new version beside one that machines stand on, else the same row."""
    named = Image.objects.filter(name=facts["name"])
    current = named.filter(version=facts["version"]).first()
    if current is None or not Instance.objects.filter(plan__image=current, state__in=ON_HOST).exists():
        return current or Image(name=facts["name"], version=facts["version"])
    named.filter(visibility=Visibility.EVERYONE).update(visibility=Visibility.NOBODY)
    Plan.objects.filter(image__in=named, preset=True).update(preset=False)
    return Image(name=facts["name"], version=f"{facts['version']}+{facts['sha256'][:8]}", icon=current.icon)


def _protocols(image: Image, *, jupyter: bool) -> None:
    ports = {Protocol.VNC: 5901, Protocol.SSH: 22} | ({Protocol.JUPYTER: 8888} if jupyter else {})
    for kind, port in ports.items():
        ImageProtocol.objects.get_or_create(image=image, kind=kind, defaults={"port": port})


def _plans(image: Image) -> None:
    for flavour in Flavour.objects.all():
        Plan.objects.get_or_create(image=image, flavour=flavour)


def _preset(images: Iterable[Image]) -> None:
    """The smallest plan of the first image, unless a preset that people can have is there."""
    if Plan.objects.filter(preset=True, enabled=True, image__visibility=Visibility.EVERYONE).exists():
        return
    offered = Plan.objects.filter(image__in=list(images)[:1], enabled=True, image__visibility=Visibility.EVERYONE)
    smallest = offered.order_by("flavour__vcpus", "flavour__memory_mib").first()
    if smallest:
        Plan.objects.filter(preset=True).update(preset=False)
        Plan.objects.filter(pk=smallest.pk).update(preset=True)
