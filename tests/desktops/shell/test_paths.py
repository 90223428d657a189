"""Names and paths as bytes, as keys, and as people read them."""

import pytest

from desktops.shell.paths import Unfit, key_of, name_of, path_of, shown, split, within

HOSTILE = [
    b"two\nlines",
    b"quote ' double \" back \\ slash",
    b"<img src=x onerror=alert(1)>",
    "txt.\u202efdp.exe".encode(),
    b"\xff\xfe not UTF-8 \xc3",
    b"-rf",
    b"a" * 255,
    b"%2e%2e%2f",
    b" ",
    b"...",
    b"\x1b]0;title\x07",
    "Élan 李 🧪".encode(),
]


@pytest.mark.parametrize("name", HOSTILE)
def test_every_name_comes_back_from_its_key(name: bytes) -> None:
    key = key_of(name)
    assert key.isascii()
    assert not set(key) & set("\n\"'<>\\ ")
    assert name_of(key) == name
    assert path_of("/home/" + key) == b"/home/" + name


@pytest.mark.parametrize("key", ["", ".", "..", "a/b", "a%2Fb", "a%00b", "a" * 256, "%2E%2E", "\ud800"])
def test_what_is_no_name_is_refused(key: str) -> None:
    with pytest.raises(Unfit):
        name_of(key)


@pytest.mark.parametrize("key", ["", "home", "%00", "/a%00", "/" + "a" * 4096])
def test_what_is_no_path_is_refused(key: str) -> None:
    with pytest.raises(Unfit):
        path_of(key)


def test_no_name_passes_for_another() -> None:
    assert shown("txt.\u202efdp.exe".encode()) == "txt.\ufffdfdp.exe"
    assert shown(b"two\nlines\x1b") == "two\ufffdlines\ufffd"
    assert shown(b"\xff.txt") == "\ufffd.txt"
    assert shown("Élan 李 🧪".encode()) == "Élan 李 🧪"


def test_a_folder_beside_a_root_is_not_in_it() -> None:
    roots = [b"/home/a", b"/data/1"]
    assert within(b"/home/a", roots)
    assert within(b"/home/a/b", roots)
    assert not within(b"/home/ab", roots)
    assert not within(b"/home", roots)
    assert within(b"/etc", [b"/"])


@pytest.mark.parametrize("path", [b"/", b"/home/..", b"/home/."])
def test_dots_are_no_entry_of_a_folder(path: bytes) -> None:
    with pytest.raises(Unfit):
        split(path)
