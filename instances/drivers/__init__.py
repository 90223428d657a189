"""Drivers speak to virtualisation hosts. `open_host` is the only way in."""

from instances.drivers.base import Driver, HostSpec


def open_host(spec: HostSpec) -> Driver:
    """Connect to a host.

    Raises HostUnreachable when it does not answer.
    """
    from instances.drivers.libvirt import LibvirtDriver  # noqa: PLC0415 - web processes must not load libvirt

    return LibvirtDriver(spec)
