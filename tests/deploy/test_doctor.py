"""What the doctor says of hosts that lack something."""

import socket
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from deploy import doctor, hypervisor
from deploy.doctor import Finding
from deploy.hypervisor import Answer
from deploy.install import missing_packages
from deploy.steps import Failed


def said(looked: list[Finding], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    monkeypatch.setattr(doctor, "LOOKS", [lambda: looked])
    code = doctor.main()
    return code, capsys.readouterr().out


def test_the_doctor_finds_this_host_fit_for_the_tests(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.main() == 0
    assert "VISA can run here." in capsys.readouterr().out


def test_only_what_is_necessary_makes_the_exit_code_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, text = said([Finding(False, "Clock: wrong", "Mend it.")], monkeypatch, capsys)
    assert (code, "note   Clock: wrong\n       Mend it." in text) == (0, True)
    code, text = said([Finding(False, "Disk: full", "Free some.", fatal=True)], monkeypatch, capsys)
    assert (code, "LACKS  Disk: full\n       Free some." in text) == (1, True)


def test_a_host_without_kvm_is_told_that_machines_will_be_slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hypervisor, "KVM", tmp_path / "kvm")
    (found,) = doctor.acceleration()
    assert not found.good
    assert not found.fatal
    assert "slower" in found.mend


def test_a_kvm_that_is_none_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "kvm").touch()
    monkeypatch.setattr(hypervisor, "KVM", tmp_path / "kvm")
    (found,) = doctor.acceleration()
    assert not found.good


def test_a_kvm_closed_to_the_user_of_qemu_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "kvm").touch(mode=0o600)
    monkeypatch.setattr(hypervisor, "KVM", tmp_path / "kvm")
    monkeypatch.setattr(doctor, "qemu_user", lambda: "nobody")
    fit = Finding(True, "KVM: usable")
    assert "nobody, as whom QEMU runs, may not open" in doctor._kvm_for_qemu(fit).text
    (tmp_path / "kvm").chmod(0o666)
    assert doctor._kvm_for_qemu(fit) is fit


@pytest.mark.parametrize("answer", list(Answer))
def test_libvirt_is_told_as_it_answers(answer: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hypervisor, "ask", lambda: answer)
    found = doctor.libvirt()[0]
    assert found.good == (answer is Answer.YES)
    assert found.good or found.mend


def test_libvirt_is_asked_at_its_sockets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hypervisor, "SOCKETS", [tmp_path / "one", tmp_path / "two"])
    assert hypervisor.ask() is Answer.NO
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "two"))
        listening.listen()
        assert hypervisor.ask() is Answer.YES
    assert hypervisor.ask() is Answer.NO


def test_a_port_in_use_comes_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("VISA_PORT", str(taken.getsockname()[1]))
        (found,) = doctor.port()
    assert not found.good
    assert "set VISA_PORT" in found.mend


def test_a_full_disk_is_fatal_and_a_small_one_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Disk:
        free = 0

    monkeypatch.setattr("shutil.disk_usage", lambda path: Disk)
    assert doctor._room("VISA_HOME", tmp_path / "not" / "yet").fatal
    Disk.free = 8 * doctor.GIB
    found = doctor._room("VISA_HOME", tmp_path)
    assert (found.good, found.fatal) == (False, False)


def test_a_network_that_the_host_is_on_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISA_HOME", str(tmp_path))
    (tmp_path / ".env").write_text("VISA_NETWORK_CIDR=10.213.0.0/20\n")
    monkeypatch.setattr(doctor, "routes", lambda: [(IPv4Network("10.0.0.0/8"), "eth0")])
    (found,) = doctor.network()
    assert not found.good
    assert "taken by 10.0.0.0/8 on eth0" in found.text
    monkeypatch.setattr(doctor, "routes", lambda: [(IPv4Network("10.213.0.0/20"), "visa-1a2b3cbr0")])
    assert doctor.network()[0].good


def test_a_system_without_dpkg_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(wanted: list[str]) -> list[str]:
        raise Failed("VISA installs itself on Debian 12; this system has no dpkg.")

    monkeypatch.setattr("deploy.install.missing_packages", none)
    (found,) = doctor.packages()
    assert found.fatal
    assert "dpkg" in found.mend


def test_missing_packages_are_those_that_dpkg_does_not_know() -> None:
    assert missing_packages(["coreutils", "no-such-package-at-all"]) == ["no-such-package-at-all"]
