"""Rows turned into the plain values that drivers understand."""

from __future__ import annotations

import re
from uuid import UUID

from django.conf import settings

from experiments.models import User
from instances import trust
from instances.drivers.base import GUEST_PORTS, BaseImage, HostSpec, InstanceSpec, Persona, Virtualisation
from instances.models import Host, Image, ImageApp, ImageProtocol, Instance

ACCOUNT_LENGTH = 32
"""useradd(8) allows no longer login names."""


def host_spec(host: Host) -> HostSpec:
    return HostSpec(
        uri=host.uri,
        deployment=UUID(settings.VISA_DEPLOYMENT),
        pool_name=host.pool_name,
        pool_path=host.pool_path,
        network_name=host.network_name,
        network_cidr=host.network_cidr,
        virtualisation=Virtualisation(host.virtualisation),
        blocked_networks=tuple(host.blocked_networks.split()),
        guest_ports=guest_ports(),
        console_address=host.console_address or "127.0.0.1",
    )


def guest_ports() -> tuple[int, ...]:
    """Where machines of any image may be reached: all machines of a host share one filter."""
    declared = ImageProtocol.objects.values_list("port").union(ImageApp.objects.order_by().values_list("port"))
    return tuple(sorted({*GUEST_PORTS, *(port for (port,) in declared)}))


def base_image(image: Image) -> BaseImage:
    return BaseImage(path=image.path, sha256=image.sha256, virtual_size_gib=image.virtual_size_gib)


def instance_spec(instance: Instance) -> InstanceSpec:
    return InstanceSpec(
        uuid=instance.uuid,
        generation=instance.generation,
        title=f"{instance.name} · {instance.owner.username}",
        base=base_image(instance.plan.image),
        vcpus=instance.vcpus,
        memory_mib=instance.memory_mib,
        disk_gib=instance.disk_gib,
        console_password=instance.console_password,
        persona=_persona(instance),
    )


def account_name(user: User) -> str:
    """The person's login name in machines: what useradd(8) accepts, made from the user name."""
    plain = re.sub(r"[^a-z0-9_-]", "-", user.username.lower()).strip("-")[:ACCOUNT_LENGTH]
    return plain if re.match(r"[a-z_]", plain) else f"u{plain}"[:ACCOUNT_LENGTH]


def host_name(instance: Instance) -> str:
    """A name that DNS accepts (RFC 1123), recognisable and unlike any other machine's."""
    plain = re.sub(r"[^a-z0-9]+", "-", instance.name.lower()).strip("-")[:40] or "visa"
    return f"{plain}-{instance.uuid.hex[:6]}"


def _persona(instance: Instance) -> Persona:
    owner = instance.owner
    authority, host_key = _ssh_keys(instance)
    return Persona(
        hostname=host_name(instance),
        account=account_name(owner),
        full_name=owner.get_full_name() or owner.username,
        uid=owner.uid,
        gid=owner.gid,
        screen_width=instance.screen_width,
        screen_height=instance.screen_height,
        keyboard=instance.keyboard,
        timezone=settings.TIME_ZONE,
        language=owner.language or settings.LANGUAGE_CODE,
        vnc_password=instance.vnc_password,
        jupyter_token=instance.jupyter_token,
        boot_commands=instance.plan.image.boot_commands,
        ssh_authority=authority,
        ssh_host_key=host_key,
    )


def _ssh_keys(instance: Instance) -> tuple[str, str]:
    """The authority's public half, and the host's private one; both empty for a machine without a secret."""
    secret, generation = instance.ssh_secret, instance.generation
    if not secret:
        return "", ""
    return (
        trust.public_line(trust.authority_key(secret, generation)),
        trust.private_text(trust.host_key(secret, generation)),
    )
