"""The keys by which VISA and a machine trust each other."""

from instances.trust import authority_key, host_key, private_text, public_line

SECRET = "a machine's secret"


def test_the_same_build_of_the_same_machine_has_the_same_keys() -> None:
    for key in (authority_key, host_key):
        assert public_line(key(SECRET, 1)) == public_line(key(SECRET, 1))


def test_another_purpose_build_or_machine_has_another_key() -> None:
    keys = [authority_key(SECRET, 1), host_key(SECRET, 1), authority_key(SECRET, 2), host_key(SECRET, 2)]
    assert len({public_line(key) for key in [*keys, authority_key("another", 1)]}) == 5


def test_they_are_written_as_openssh_reads_them() -> None:
    key = host_key(SECRET, 1)
    assert public_line(key).startswith("ssh-ed25519 AAAA")
    assert private_text(key).startswith("-----BEGIN OPENSSH PRIVATE KEY-----\n")
