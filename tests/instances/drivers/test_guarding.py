"""What a guest may reach, and what it may pretend: asked of a real guest, whose root does its worst.

Around it: the host with a service of its own, a neighbour on the same bridge, and an outside beyond the host's NAT.
"""

import json
import socket
import subprocess
from base64 import b64decode
from collections.abc import Iterator
from contextlib import closing, contextmanager
from uuid import UUID

import pytest

from instances.drivers import open_host
from instances.drivers.base import BaseImage, Driver, HostSpec, Power
from instances.drivers.domain import domain_name
from tests.cell.hypervisor import BLOCKED
from tests.instances.drivers.machines import Eyes, a_spec
from tests.servers import wait_until

pytestmark = pytest.mark.qemu

BOOT_PATIENCE = 420
GATEWAY = "10.214.0.1"
NEIGHBOUR = "10.214.15.250"
OUTSIDE, OUTSIDE_BLOCKED = "198.51.100.2", BLOCKED.replace(".0.0/16", ".0.1")
BRIDGE = "testsbr0"


def run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)


class Guest:
    """A booted machine, and its root's shell by way of the guest agent."""

    def __init__(self, driver: Driver, uuid: UUID) -> None:
        self.driver, self.uuid = driver, uuid

    @property
    def address(self) -> str:
        (status,) = [status for status in self.driver.observe() if status.uuid == self.uuid]
        return status.addresses[0] if status.addresses else ""

    def agent(self, execute: str, **arguments: object) -> dict[str, object]:
        command = json.dumps({"execute": execute, "arguments": arguments})
        words = ["virsh", "-q", "-c", "qemu:///system", "qemu-agent-command", domain_name(self.uuid), command]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        answer: dict[str, object] = json.loads(done.stdout)["return"] if done.returncode == 0 else {}
        return answer

    def listens(self) -> bool:
        return "version" in self.agent("guest-info")

    def succeeds(self, script: str) -> bool:
        """Whether a shell script in the guest ends well."""
        started = self.agent("guest-exec", path="/bin/bash", arg=["-c", script], **{"capture-output": True})
        state: dict[str, object] = {}

        def over() -> bool:
            state.update(self.agent("guest-exec-status", pid=started["pid"]))
            return bool(state.get("exited"))

        wait_until(over, f"the end of {script!r} in the guest", 120, every=0.3)
        self.said = (
            b64decode(str(state.get("out-data", ""))).decode() + b64decode(str(state.get("err-data", ""))).decode()
        )
        return state["exitcode"] == 0

    def reaches(self, address: str, port: int) -> bool:
        return self.succeeds(f"timeout 6 bash -c '</dev/tcp/{address}/{port}'")


def banner(address: str, port: int) -> bytes:
    try:
        with socket.create_connection((address, port), timeout=2) as connection:
            connection.settimeout(10)
            return connection.recv(12)
    except OSError:
        return b""


@pytest.fixture(scope="module")
def guest(qemu_host: HostSpec, base_image: BaseImage) -> Iterator[Guest]:
    spec = a_spec(base_image, memory_mib=1024, disk_gib=max(4, base_image.virtual_size_gib))
    with closing(open_host(qemu_host)) as driver:
        driver.create(spec)
        driver.start(spec.uuid)
        booted = Guest(driver, spec.uuid)
        try:
            wait_until(lambda: booted.address, "the guest's address", BOOT_PATIENCE, every=0.5)
            wait_until(lambda: banner(booted.address, 5901), "the guest's desktop", BOOT_PATIENCE, every=0.5)
            wait_until(booted.listens, "the guest's agent", BOOT_PATIENCE, every=0.5)
            yield booted
        finally:
            driver.destroy(spec.uuid)


@pytest.fixture(scope="module", autouse=True)
def surroundings(guest: Guest) -> Iterator[None]:
    """A neighbour plugged into the guests' bridge, and an outside with one welcome and one blocked address."""
    for name, bridged in (("neighbour", True), ("outside", False)):
        run("ip", "netns", "add", name)
        run("ip", "link", "add", f"{name}0", "type", "veth", "peer", "name", "eth0", "netns", name)
        run("ip", "link", "set", f"{name}0", "up", *(["master", BRIDGE] if bridged else []))
        run("ip", "-n", name, "link", "set", "lo", "up")
        run("ip", "-n", name, "link", "set", "eth0", "up")
    run("ip", "-n", "neighbour", "address", "add", f"{NEIGHBOUR}/20", "dev", "eth0")
    run("ip", "address", "add", "198.51.100.1/24", "dev", "outside0")
    run("ip", "route", "add", BLOCKED, "via", OUTSIDE)
    run("ip", "-n", "outside", "address", "add", f"{OUTSIDE}/24", "dev", "eth0")
    run("ip", "-n", "outside", "address", "add", f"{OUTSIDE_BLOCKED}/32", "dev", "lo")
    with served(""), served("neighbour"), served("outside"):
        yield
    for name in ("neighbour", "outside"):
        run("ip", "netns", "delete", name)


@contextmanager
def served(namespace: str, port: int = 9000) -> Iterator[None]:
    """A service that greets whoever reaches it, on every address of a network namespace ("" is the host's own)."""
    program = (
        f"import socket; server = socket.create_server(('', {port})); print('open', flush=True)\n"
        "while True: server.accept()[0].sendall(b'hello')"
    )
    inside = ["ip", "netns", "exec", namespace] if namespace else []
    server = subprocess.Popen([*inside, "python3", "-c", program], stdout=subprocess.PIPE)
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == b"open\n"
        yield
    finally:
        server.kill()
        server.communicate()


def neighbour_reaches(address: str, port: int, source_port: int = 0) -> bool:
    program = f"import socket, sys; socket.create_connection(({address!r}, {port}), 3, ('', {source_port})).close()"
    return (
        subprocess.run(
            ["ip", "netns", "exec", "neighbour", "python3", "-c", program], check=False, capture_output=True
        ).returncode
        == 0
    )


def test_the_host_reaches_the_guests_desktop_and_gets_its_answers(guest: Guest) -> None:
    assert banner(guest.address, 5901) == b"RFB 003.008\n"


def test_the_address_is_the_one_kept_for_the_machine(guest: Guest, qemu_host: HostSpec) -> None:
    with closing(Eyes(qemu_host)) as eyes:
        assert f"<parameter name='IP' value='{guest.address}'/>" in eyes.xml(guest.uuid)


def test_the_guest_reaches_the_outside_through_the_host(guest: Guest) -> None:
    assert guest.reaches(OUTSIDE, 9000), guest.said


def test_the_guest_asks_the_gateway_for_names(guest: Guest) -> None:
    assert guest.reaches(GATEWAY, 53), guest.said


@pytest.mark.parametrize("address", [GATEWAY, "198.51.100.1"])
def test_the_guest_reaches_no_service_of_the_host_under_any_address(guest: Guest, address: str) -> None:
    assert banner(address, 9000) == b"hello", "the service itself does not answer"
    assert not guest.reaches(address, 9000)


def test_pretending_to_answer_opens_no_way_to_the_host(guest: Guest) -> None:
    """A connection from a port that answers would have: packets alone cannot tell, connections can."""
    connect = f"import socket; socket.create_connection(('{GATEWAY}', 9000), 4, ('', 22))"
    assert not guest.succeeds(f'systemctl stop ssh.socket ssh.service; python3 -c "{connect}"')
    assert "timed out" in guest.said, "the connection was not tried at all"


def test_the_guest_does_not_reach_blocked_networks(guest: Guest) -> None:
    assert banner(OUTSIDE_BLOCKED, 9000) == b"hello", "the service itself does not answer"
    assert not guest.reaches(OUTSIDE_BLOCKED, 9000)


def test_guests_do_not_reach_each_other(guest: Guest) -> None:
    assert banner(NEIGHBOUR, 9000) == b"hello", "the neighbour itself does not answer"
    assert not guest.reaches(NEIGHBOUR, 9000)
    run("bridge", "link", "set", "dev", "neighbour0", "isolated", "on")  # as libvirt plugs every machine of ours in
    assert not neighbour_reaches(guest.address, 5901)


def test_the_network_hook_guards_the_host_by_itself(guest: Guest) -> None:
    """The neighbour stands behind no filter of libvirt's: only the hook's rules lie between it and the host."""
    assert not neighbour_reaches(GATEWAY, 9000)
    assert not neighbour_reaches(GATEWAY, 9000, source_port=5901)
    assert not neighbour_reaches("198.51.100.1", 9000)
    assert neighbour_reaches(GATEWAY, 53)


def test_the_guest_speaks_under_no_other_address(guest: Guest) -> None:
    route = f"ip route add {OUTSIDE}/32 via {GATEWAY} dev $card src 10.214.15.99"
    forge = f"ip address add 10.214.15.99/32 dev $card && {route}"
    assert guest.succeeds(on_its_card(forge)), guest.said
    assert not guest.reaches(OUTSIDE, 9000)
    assert guest.succeeds(on_its_card(f"ip route delete {OUTSIDE}/32 && ip address delete 10.214.15.99/32 dev $card"))
    assert guest.reaches(OUTSIDE, 9000), guest.said


def test_the_guest_does_not_answer_for_another_address(guest: Guest) -> None:
    assert guest.succeeds(on_its_card("ip address add 10.214.15.98/32 dev $card")), guest.said
    assert banner("10.214.15.98", 5901) == b""
    assert guest.succeeds(on_its_card("ip address delete 10.214.15.98/32 dev $card"))
    assert banner(guest.address, 5901) == b"RFB 003.008\n"


def test_the_guest_speaks_under_no_other_mac(guest: Guest) -> None:
    """It would cut itself off, so it comes back by itself after the trial."""
    trial = (
        "own=$(cat /sys/class/net/$card/address); ip link set $card address 52:00:00:00:00:99;"
        f"timeout 6 bash -c '</dev/tcp/{GATEWAY}/53'; reached=$?; ip link set $card address $own; test $reached -ne 0"
    )
    assert guest.succeeds(on_its_card(trial)), guest.said
    wait_until(lambda: banner(guest.address, 5901), "the guest under its own address", 60)


def on_its_card(script: str) -> str:
    return f"card=$(ip -o route show default | sed 's/.* dev \\([^ ]*\\).*/\\1/' | head -1); {script}"


def test_a_job_declared_in_the_guest_is_heard_of_while_it_runs(guest: Guest) -> None:
    assert guest.driver.activity(guest.uuid).job == ""
    assert guest.succeeds("setsid visa-busy -- sleep 1000 > /dev/null 2>&1 &"), guest.said
    wait_until(lambda: guest.driver.activity(guest.uuid).job == "sleep 1000", "the declared job", 60)
    assert guest.succeeds("pkill -x sleep"), guest.said
    wait_until(lambda: guest.driver.activity(guest.uuid).job == "", "the end of the declared job", 60)


def test_a_program_that_runs_in_a_terminal_is_heard_of(guest: Guest) -> None:
    assert guest.succeeds("setsid script -qc 'sleep 1001' /dev/null > /dev/null 2>&1 < /dev/null &"), guest.said
    wait_until(lambda: guest.driver.activity(guest.uuid).job == "sleep", "the program", 60)
    assert guest.succeeds("pkill -x sleep"), guest.said


def test_a_hibernated_guest_wakes_with_its_desktop(guest: Guest) -> None:
    guest.driver.hibernate(guest.uuid)
    (asleep,) = [status for status in guest.driver.observe() if status.uuid == guest.uuid]
    assert (asleep.power, asleep.hibernated, asleep.addresses) == (Power.OFF, True, ())
    guest.driver.start(guest.uuid)
    wait_until(lambda: guest.address and banner(guest.address, 5901), "the desktop after waking", 60)


def test_a_guest_powers_off_when_asked(guest: Guest) -> None:
    guest.driver.stop(guest.uuid)

    def off() -> bool:
        return [s.power for s in guest.driver.observe() if s.uuid == guest.uuid] == [Power.OFF]

    wait_until(off, "the end of the guest's shutdown", 180, every=0.5)
