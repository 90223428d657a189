"""The network and the filter as text; what they do to a guest is in test_guarding.py."""

from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from uuid import UUID

import pytest

from instances.drivers.base import GUEST_PORTS
from instances.drivers.network import (
    NetworkFacts,
    bridge_name,
    filter_xml,
    free_address,
    network_xml,
    read_network,
    same_filter,
)

GOLDEN = Path(__file__).parent / "golden"
DEPLOYMENT = UUID("99999999-8888-4777-8666-555555555555")
SMALL = NetworkFacts(
    IPv4Network("10.213.0.0/29"), IPv4Address("10.213.0.1"), IPv4Address("10.213.0.2"), IPv4Address("10.213.0.6")
)
BLOCKED = ("192.168.7.0/24", "172.16.0.9", "fd00::/8")


def test_our_network_is_written_as_the_golden_file_says() -> None:
    assert network_xml("visa", "10.213.0.0/20", DEPLOYMENT) == (GOLDEN / "network.xml").read_text()


def test_our_filter_is_written_as_the_golden_file_says() -> None:
    assert filter_xml("visa-guest", SMALL, BLOCKED, GUEST_PORTS) == (GOLDEN / "filter.xml").read_text()


def test_a_network_is_read_back() -> None:
    facts = read_network(network_xml("visa", "10.213.0.0/29", DEPLOYMENT))
    assert facts == SMALL


def test_a_network_without_addresses_to_give_is_none() -> None:
    assert read_network("<network><name>bridged</name><forward mode='bridge'/></network>") is None


@pytest.mark.parametrize("name", ["visa", "a-very-long-name-of-a-network", "spaced name", "réseau"])
def test_a_bridge_has_a_name_that_linux_takes(name: str) -> None:
    bridge = bridge_name(name)
    assert len(bridge) <= 15
    assert bridge.isalnum()
    assert bridge.isascii()


def test_addresses_are_given_until_none_is_left() -> None:
    given: dict[str, str] = {}
    for number in range(5):
        mac = f"52:00:00:00:00:{number:02x}"
        facts = NetworkFacts(SMALL.subnet, SMALL.gateway, SMALL.first, SMALL.last, dict(given))
        address = free_address(facts, mac)
        assert address is not None
        given[mac] = address
    assert sorted(given.values()) == [f"10.213.0.{last}" for last in range(2, 7)]
    full = NetworkFacts(SMALL.subnet, SMALL.gateway, SMALL.first, SMALL.last, given)
    assert free_address(full, "52:00:00:00:00:ff") is None


def test_a_filter_with_another_blocked_network_is_another() -> None:
    one = filter_xml("visa-guest", SMALL, BLOCKED, GUEST_PORTS)
    assert same_filter(one, filter_xml("visa-guest", SMALL, BLOCKED, GUEST_PORTS, uuid=str(DEPLOYMENT)))
    assert not same_filter(one, filter_xml("visa-guest", SMALL, ("192.168.7.0/24",), GUEST_PORTS))


def test_replies_pass_from_the_ports_of_declared_applications_alone() -> None:
    written = filter_xml("visa-guest", SMALL, BLOCKED, (22, 3000))
    assert 'srcportstart="3000"' in written
    assert 'srcportstart="8888"' not in written
