"""Pure: the network of ours on a host, and the filter between each guest and everything else.

Elements are libvirt's (https://libvirt.org/formatnetwork.html, https://libvirt.org/formatnwfilter.html).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, ip_network
from uuid import UUID

from lxml import etree
from lxml.builder import E, ElementMaker

from instances.drivers.domain import NAMESPACE

_OURS = ElementMaker(namespace=NAMESPACE, nsmap={"visa": NAMESPACE})
_PARSER = etree.XMLParser(resolve_entities=False, no_network=True)

_LONGEST_INTERFACE_NAME = 15  # IFNAMSIZ of Linux, less its final zero

_NO_ADDRESS = str(IPv4Address(0))  # a guest that has none yet
# Never reached from a guest, whatever a facility blocks: link-local addresses (clouds keep their hosts' secrets at
# 169.254.169.254), multicast, reserved and broadcast.
_ALWAYS_BLOCKED = (ip_network("169.254.0.0/16"), ip_network("224.0.0.0/3"))


@dataclass(frozen=True)
class NetworkFacts:
    """A network as the host has it. `reserved` maps MAC addresses to the addresses that DHCP keeps for them."""

    subnet: IPv4Network
    gateway: IPv4Address
    first: IPv4Address
    last: IPv4Address
    reserved: dict[str, str] = field(default_factory=dict)


def bridge_name(network: str) -> str:
    """An interface name that Linux can hold; long network names are shortened to a digest."""
    name = f"{network}br0"
    if len(name) <= _LONGEST_INTERFACE_NAME and name.isascii() and name.isalnum():
        return name
    return "vbr" + hashlib.sha256(network.encode()).hexdigest()[:10]


def filter_name(network: str) -> str:
    return f"{network}-guest"


def network_xml(name: str, cidr: str, deployment: UUID) -> str:
    """A NAT network without spanning tree, which would keep each new guest silent for four seconds."""
    subnet = IPv4Network(cidr)
    gateway = subnet.network_address + 1
    root = E.network(
        E.name(name),
        # The network hook of deploy/host/ guards networks that carry this element.
        E.metadata(_OURS.network(deployment=str(deployment))),
        E.forward(mode="nat"),
        E.bridge(name=bridge_name(name), stp="off", delay="0"),
        E.ip(
            E.dhcp(E.range(start=str(gateway + 1), end=str(subnet.broadcast_address - 1))),
            address=str(gateway),
            netmask=str(subnet.netmask),
        ),
    )
    return etree.tostring(root, pretty_print=True, encoding="unicode")


def read_network(xml: str) -> NetworkFacts | None:
    """None for a network without IPv4 addresses to give."""
    for ip in etree.fromstring(xml, _PARSER).iterfind("ip"):
        span = ip.find("dhcp/range")
        if span is None or ip.get("family", "ipv4") != "ipv4":
            continue
        gateway = IPv4Address(ip.get("address", ""))
        mask = ip.get("netmask") or ip.get("prefix")
        return NetworkFacts(
            subnet=IPv4Network(f"{gateway}/{mask}", strict=False),
            gateway=gateway,
            first=IPv4Address(span.get("start", "")),
            last=IPv4Address(span.get("end", "")),
            reserved={host.get("mac", "").lower(): host.get("ip", "") for host in ip.iterfind("dhcp/host")},
        )
    return None


def free_address(network: NetworkFacts, mac: str) -> str | None:
    """One that nobody holds, spread by the MAC so that a freed one is not given again at once. None when full."""
    size = int(network.last) - int(network.first) + 1
    start = int(mac.replace(":", ""), 16) % size
    taken = {*network.reserved.values(), str(network.gateway)}
    candidates = (str(network.first + (start + step) % size) for step in range(size))
    return next((address for address in candidates if address not in taken), None)


def reservation_xml(mac: str, address: str) -> str:
    return etree.tostring(E.host(mac=mac, ip=address), encoding="unicode")


def filter_xml(
    name: str, network: NetworkFacts, blocked: Sequence[str], ports: Sequence[int], uuid: str | None = None
) -> str:
    """What a guest may send: as itself only, to the outside and to the gateway's DHCP and DNS, and its replies.

    Replies are those from the TCP ports at which the host asks it.

    The rules know packets, not connections, so they hold on every host. The network hook of deploy/host/ adds the
    part that knows connections. `uuid` is that of the filter being replaced.
    """
    root = E("filter", name=name, chain="root")
    if uuid:
        root.append(E.uuid(uuid))
    for order, (action, direction, protocol, attributes) in enumerate(_rules(network, blocked, ports)):
        rule = E.rule(action=action, direction=direction, priority=str(order - 900))
        rule.append(E(protocol, **attributes))
        root.append(rule)
    return etree.tostring(root, pretty_print=True, encoding="unicode")


_Rule = tuple[str, str, str, dict[str, str]]


def _rules(network: NetworkFacts, blocked: Sequence[str], ports: Sequence[int]) -> Iterator[_Rule]:
    """In the order they are tried."""
    yield "drop", "out", "mac", {"match": "no", "srcmacaddr": "$MAC"}
    yield from _arp_rules()
    yield from _address_rules()
    yield from _gateway_rules(str(network.gateway), ports)
    for barred in (network.subnet, *_ALWAYS_BLOCKED, *(ip_network(cidr, strict=False) for cidr in blocked)):
        if barred.version == 4:
            yield (
                "drop",
                "out",
                "ip",
                {"dstipaddr": str(barred.network_address), "dstipmask": str(barred.prefixlen)},
            )
    yield "accept", "inout", "ip", {}
    yield "drop", "inout", "mac", {}


def _arp_rules() -> Iterator[_Rule]:
    own = {"arpsrcmacaddr": "$MAC"}
    yield "accept", "out", "arp", {**own, "arpsrcipaddr": "$IP"}
    yield "accept", "out", "arp", {**own, "arpsrcipaddr": _NO_ADDRESS}  # the probe of RFC 5227, 2.1.1
    yield "accept", "in", "arp", {}
    yield "drop", "inout", "arp", {}


def _address_rules() -> Iterator[_Rule]:
    asking = {"srcipaddr": _NO_ADDRESS, "dstipaddr": "255.255.255.255", "protocol": "udp"}
    yield "accept", "out", "ip", {**asking, "srcportstart": "68", "dstportstart": "67"}
    yield "drop", "out", "ip", {"match": "no", "srcipaddr": "$IP"}


def _gateway_rules(gateway: str, ports: Sequence[int]) -> Iterator[_Rule]:
    to_gateway = {"dstipaddr": gateway}
    yield "accept", "out", "ip", {**to_gateway, "protocol": "udp", "dstportstart": "67"}
    for protocol in ("udp", "tcp"):
        yield "accept", "out", "ip", {**to_gateway, "protocol": protocol, "dstportstart": "53"}
    yield "accept", "out", "ip", {**to_gateway, "protocol": "icmp"}
    for port in ports:
        yield "accept", "out", "ip", {**to_gateway, "protocol": "tcp", "srcportstart": str(port)}


def same_filter(one: str, other: str) -> bool:
    """Whether two filters' rules are equal, in whatever way libvirt writes them back."""
    return _fingerprint(one) == _fingerprint(other)


def _fingerprint(xml: str) -> list[tuple[object, ...]]:
    return [
        (rule.get("action"), rule.get("direction"), rule.get("priority"), child.tag, *sorted(child.items()))
        for rule in etree.fromstring(xml, _PARSER).iterfind("rule")
        for child in rule
    ]
