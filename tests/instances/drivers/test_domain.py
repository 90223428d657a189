"""The XML of machines: against files that were read by people, and hostile words."""

from pathlib import Path
from uuid import UUID

import pytest
from lxml import etree

from instances.drivers.base import BaseImage, Console, Virtualisation
from instances.drivers.domain import (
    Owned,
    Platform,
    Wiring,
    domain_xml,
    mac_address,
    platform_of,
    printable,
    read_domain,
)
from tests.instances.drivers.machines import a_spec

GOLDEN = Path(__file__).parent / "golden"
ALICE = UUID("11111111-2222-4333-8444-555555555555")
DEPLOYMENT = UUID("99999999-8888-4777-8666-555555555555")
BASE = BaseImage("/images/desktop.qcow2", "ab" * 32, 8)
WIRING = Wiring("/pool/visa-1.qcow2", "/pool/visa-1-seed.iso", "visa", "visa-guest", "10.213.1.7")
SPEC = a_spec(BASE, ALICE, memory_mib=2048, vcpus=2, title="Alice's <lyrebird>")


@pytest.mark.parametrize(("kind", "file"), [("qemu", "domain-emulated.xml"), ("kvm", "domain-kvm.xml")])
def test_a_machine_is_written_as_the_golden_file_says(kind: str, file: str) -> None:
    assert domain_xml(SPEC, DEPLOYMENT, Platform(kind), WIRING) == (GOLDEN / file).read_text()


def test_what_was_written_is_read_back() -> None:
    facts = read_domain(domain_xml(SPEC, DEPLOYMENT, Platform("qemu"), WIRING))
    assert facts is not None
    assert facts.owned == Owned(ALICE, 1, DEPLOYMENT)
    assert (facts.mac, facts.address) == (mac_address(ALICE), "10.213.1.7")
    assert facts.console is None, "a machine that is off has no port yet"


def test_the_console_of_a_running_machine_is_read_from_its_live_xml() -> None:
    live = domain_xml(SPEC, DEPLOYMENT, Platform("qemu"), WIRING).replace('port="-1"', 'port="5903" listen="127.0.0.1"')
    facts = read_domain(live)
    assert facts is not None
    assert facts.console == Console("127.0.0.1", 5903)


@pytest.mark.parametrize(
    "xml",
    [
        "<domain type='qemu'><name>visa-1</name></domain>",
        "<domain><metadata><v:instance xmlns:v='urn:x-visa:domain:1' uuid='no' generation='1'/></metadata></domain>",
        "<domain><metadata><v:instance xmlns:v='urn:another' generation='1'/></metadata></domain>",
    ],
)
def test_a_domain_without_our_metadata_is_not_ours(xml: str) -> None:
    assert read_domain(xml) is None


def test_a_title_cannot_become_markup() -> None:
    spec = a_spec(BASE, ALICE, title="</title><devices><disk/></devices>")
    root = etree.fromstring(domain_xml(spec, DEPLOYMENT, Platform("qemu"), WIRING))
    assert root.findtext("title") == "</title><devices><disk/></devices>"
    assert len(root.findall("devices")) == 1


def test_a_title_is_one_line_that_xml_can_hold() -> None:
    assert printable("a\nb\x00c\ud800  d\u202e") == "a b c d"
    assert printable("\x00\n") == "-"


def test_macs_are_local_unicast_and_follow_from_the_machine() -> None:
    first = int(mac_address(ALICE).split(":")[0], 16)
    assert first & 1 == 0
    assert first & 2 == 2
    assert mac_address(ALICE) == mac_address(UUID(str(ALICE)))
    assert mac_address(ALICE) != mac_address(DEPLOYMENT)


def capabilities(*kinds: str, arch: str = "x86_64") -> str:
    offered = "".join(f"<domain type='{kind}'/>" for kind in kinds)
    return f"<capabilities><guest><os_type>hvm</os_type><arch name='{arch}'>{offered}</arch></guest></capabilities>"


@pytest.mark.parametrize(
    ("wanted", "offered", "works", "chosen"),
    [
        (Virtualisation.AUTO, ("qemu", "kvm"), True, "kvm"),
        (Virtualisation.AUTO, ("qemu", "kvm"), False, "qemu"),
        (Virtualisation.AUTO, ("qemu",), True, "qemu"),
        (Virtualisation.EMULATION, ("qemu", "kvm"), True, "qemu"),
        (Virtualisation.KVM, ("qemu", "kvm"), False, "kvm"),
        (Virtualisation.KVM, ("qemu",), True, None),
    ],
)
def test_kvm_is_taken_where_it_works_or_is_asked_for(
    wanted: Virtualisation, offered: tuple[str, ...], works: bool, chosen: str | None
) -> None:
    platform = platform_of(capabilities(*offered), wanted, kvm_works=works)
    assert (platform.domain_type if platform else None) == chosen


def test_a_host_of_another_kind_is_taken_as_it_is() -> None:
    assert platform_of(capabilities("test", arch="i686"), Virtualisation.AUTO, kvm_works=False) == Platform(
        "test", "i686"
    )
    assert platform_of("<capabilities/>", Virtualisation.AUTO, kvm_works=False) is None
