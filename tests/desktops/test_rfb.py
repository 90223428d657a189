"""The handshake towards viewers, and the sieve that a viewer's messages go through."""

from __future__ import annotations

import struct

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from desktops.rfb import (
    MAX_CUT_TEXT,
    REFUSED_ENCODINGS,
    ClientMessages,
    Handshake,
    ProtocolError,
    Role,
    clean_name,
)
from tests.desktops.machines import TRUE_COLOUR


def pixel_format() -> bytes:
    return b"\0\0\0\0" + TRUE_COLOUR.pack()


def encodings(*kinds: int) -> bytes:
    return struct.pack(f">BxH{len(kinds)}i", 2, len(kinds), *kinds)


def update_request(x: int = 0, *, incremental: bool = True) -> bytes:
    return struct.pack(">BB4H", 3, incremental, x, 0, 64, 48)


def key(keysym: int, down: bool = True) -> bytes:
    return struct.pack(">BBxxI", 4, down, keysym)


def pointer(buttons: int, x: int = 1, y: int = 2) -> bytes:
    return struct.pack(">BBHH", 5, buttons, x, y)


def cut_text(text: bytes) -> bytes:
    return struct.pack(">Bxxxi", 6, len(text)) + text


def extended_cut_text(data: bytes) -> bytes:
    return struct.pack(">Bxxxi", 6, -len(data)) + data


def continuous_updates() -> bytes:
    return struct.pack(">BB4H", 150, 1, 0, 0, 64, 48)


def fence(payload: bytes = b"ping") -> bytes:
    return struct.pack(">BxxxIB", 248, 1, len(payload)) + payload


def resizing(role: Role) -> ClientMessages:
    """Of a viewer that announced that it knows about other sizes of the screen."""
    messages = ClientMessages(role)
    messages.receive(encodings(-308))
    return messages


def desktop_size(width: int = 1024, height: int = 768, screens: int = 1) -> bytes:
    head = struct.pack(">BxHHBx", 251, width, height, screens)
    return head + b"".join(struct.pack(">IHHHHI", i, 0, 0, width, height, 0) for i in range(screens))


def qemu_key(keysym: int, down: bool = True, scancode: int = 30) -> bytes:
    return struct.pack(">BBHII", 255, 0, down, keysym, scancode)


LOOKING = [pixel_format(), encodings(7, 16, 0, -223, -308), update_request(), continuous_updates(), fence(), fence(b"")]
DOING = [
    key(97), pointer(1), cut_text(b"hello"), cut_text(b""), extended_cut_text(b"\0\0\0\1abc"), desktop_size(),
    desktop_size(screens=0), desktop_size(screens=3), qemu_key(97),
]  # fmt: skip
UNKNOWN = {
    "xvp": b"\xfa\0\x01\x02",
    "QEMU audio": struct.pack(">BBH", 255, 1, 0),
    "gii": b"\xfd\x81\0\0",
    "FixColourMapEntries": b"\x01" + bytes(5),
    "text chat": b"\x0b" + bytes(7),
    "file transfer": b"\x07" + bytes(11),
    "unassigned": b"\x63" + bytes(20),
}


def handshake() -> Handshake:
    return Handshake(64, 48, TRUE_COLOUR, "the machine")


SAID = b"RFB 003.008\n\x01\x01"
ANSWERED = b"\x01\x01\0\0\0\0" + struct.pack(">HH", 64, 48) + TRUE_COLOUR.pack() + b"\0\0\0\x0bthe machine"


@given(st.lists(st.integers(1, 13), max_size=6), st.binary(max_size=20))
def test_the_handshake_answers_the_same_however_it_is_cut(cuts: list[int], rest: bytes) -> None:
    shaking, answers, at = handshake(), b"", 0
    for cut in sorted(set(cuts)):
        answers += shaking.receive(SAID[at:cut])
        at = cut
    assert not shaking.done
    answers += shaking.receive(SAID[at:] + rest)
    assert answers == ANSWERED
    assert shaking.done
    assert shaking.rest == rest


@pytest.mark.parametrize("said", [b"RFB 003.003\n", b"GET / HTTP/1.1", b"RFB 003.008\n\x02", b"\0"])
def test_a_viewer_that_speaks_something_else_is_refused(said: bytes) -> None:
    with pytest.raises(ProtocolError):
        handshake().receive(said)


@given(st.lists(st.binary(max_size=30), max_size=10))
def test_no_handshake_keeps_more_than_it_waits_for(pieces: list[bytes]) -> None:
    shaking = handshake()
    try:
        for piece in pieces:
            shaking.receive(piece)
            assert shaking.done or len(shaking.rest) < 12
    except ProtocolError:
        pass


def test_a_name_has_no_control_characters_and_an_end() -> None:
    assert clean_name("a\x00b\x1b[31m\u202ec\n") == "ab[31mc"
    assert len(clean_name("x" * 4096)) == 120


@pytest.mark.parametrize("message", LOOKING)
@pytest.mark.parametrize("role", Role)
def test_everybody_may_say_how_to_be_shown_the_picture(role: Role, message: bytes) -> None:
    assert ClientMessages(role).receive(message) == message


@pytest.mark.parametrize("message", DOING)
def test_who_controls_may_do_everything(message: bytes) -> None:
    assert resizing(Role.CONTROL).receive(message) == message


@pytest.mark.parametrize("message", DOING)
def test_nothing_that_a_watcher_does_passes(message: bytes) -> None:
    messages = ClientMessages(Role.WATCH)
    assert messages.receive(message + update_request()) == update_request()
    assert messages.inputs == 0


@pytest.mark.parametrize("message", UNKNOWN.values(), ids=UNKNOWN.keys())
@pytest.mark.parametrize("role", Role)
def test_what_is_not_known_ends_the_connection(role: Role, message: bytes) -> None:
    with pytest.raises(ProtocolError):
        ClientMessages(role).receive(update_request() + message)


@pytest.mark.parametrize("message", [encodings(*range(257)), fence(bytes(65))])
def test_a_message_of_absurd_length_ends_the_connection(message: bytes) -> None:
    with pytest.raises(ProtocolError):
        ClientMessages(Role.CONTROL).receive(message)


def test_the_machine_never_hears_of_extensions_that_are_refused() -> None:
    said = encodings(7, *REFUSED_ENCODINGS, -239)
    assert ClientMessages(Role.CONTROL).receive(said) == encodings(7, -239)


def test_a_viewer_that_did_not_announce_sizes_may_not_ask_for_one() -> None:
    messages = ClientMessages(Role.CONTROL)
    assert messages.receive(desktop_size() + update_request()) == update_request()
    messages.receive(encodings(7, -308))
    assert messages.receive(desktop_size()) == desktop_size()
    messages.receive(encodings(7))
    assert messages.receive(desktop_size()) == b""


@pytest.mark.parametrize("size", [(0, 10), (10, 0), (8193, 10), (65535, 65535)])
def test_an_absurd_screen_is_not_asked_for(size: tuple[int, int]) -> None:
    assert resizing(Role.CONTROL).receive(desktop_size(*size) + update_request()) == update_request()


@pytest.mark.parametrize("sign", [1, -1])
def test_a_text_that_is_too_long_is_left_out_and_the_rest_passes(sign: int) -> None:
    messages = ClientMessages(Role.CONTROL)
    passed = messages.receive(struct.pack(">Bxxxi", 6, sign * (MAX_CUT_TEXT + 1)))
    for _ in range(MAX_CUT_TEXT // 65536):
        passed += messages.receive(bytes(65536))
    passed += messages.receive(b"x" + update_request())
    assert passed == update_request()
    assert messages.inputs == 0


def test_a_long_text_streams_through_without_being_kept() -> None:
    messages = ClientMessages(Role.CONTROL)
    assert len(messages.receive(struct.pack(">Bxxxi", 6, MAX_CUT_TEXT))) == 8
    for _ in range(MAX_CUT_TEXT // 65536):
        assert len(messages.receive(bytes(65536))) == 65536
        assert kept(messages) == 0
    assert messages.receive(update_request()) == update_request()


def test_a_text_that_began_with_control_ends_whole_after_control_is_lost() -> None:
    messages = ClientMessages(Role.CONTROL)
    said = cut_text(b"half and half")
    passed = messages.receive(said[:12])
    messages.role = Role.WATCH
    passed += messages.receive(said[12:] + key(97) + update_request())
    assert passed == said + update_request()


def test_a_new_role_counts_from_the_next_message() -> None:
    messages = ClientMessages(Role.WATCH)
    assert messages.receive(key(97)) == b""
    messages.role = Role.CONTROL
    assert messages.receive(key(97)) == key(97)


def test_who_loses_control_lets_go_of_keys_and_buttons() -> None:
    messages = ClientMessages(Role.CONTROL)
    messages.receive(key(1) + key(2) + key(2, down=False) + qemu_key(3) + pointer(1, 30, 40))
    assert messages.release() == key(1, down=False) + qemu_key(3, down=False) + pointer(0, 30, 40)
    assert messages.release() == b""


def test_what_is_remembered_of_held_keys_has_an_end() -> None:
    messages = ClientMessages(Role.CONTROL)
    messages.receive(b"".join(key(symbol) for symbol in range(1000)))
    assert len(messages.release()) <= 64 * 8


def test_every_input_counts_and_looking_does_not() -> None:
    messages = ClientMessages(Role.CONTROL)
    messages.receive(key(97) + update_request() + pointer(0) + cut_text(b"x") + desktop_size() + fence() + qemu_key(1))
    assert messages.inputs == 4


def kept(messages: ClientMessages) -> int:
    return len(messages._kept)


Streams = st.lists(st.sampled_from(LOOKING + DOING), max_size=30)


@given(Streams, st.data())
def test_a_stream_passes_the_same_however_it_is_cut(stream: list[bytes], data: st.DataObject) -> None:
    said = b"".join(stream)
    cuts = data.draw(st.lists(st.integers(0, len(said)), max_size=40).map(sorted))
    for role in Role:
        messages, passed = resizing(role), b""
        for begin, end in zip([0, *cuts], [*cuts, len(said)], strict=True):
            passed += messages.receive(said[begin:end])
        assert passed == b"".join(m for m in stream if role is Role.CONTROL or m in LOOKING)
        assert kept(messages) == 0


def test_a_stream_passes_the_same_byte_by_byte() -> None:
    for role in Role:
        messages = resizing(role)
        passed = b"".join(messages.receive(bytes([byte])) for byte in b"".join(LOOKING + DOING))
        assert passed == b"".join(LOOKING + (DOING if role is Role.CONTROL else []))


def take_apart(passed: bytes) -> set[int]:
    """The types of the messages in a stream, by a reader written apart from the one under test."""
    kinds, at = set(), 0
    while at < len(passed):
        kind = passed[at]
        kinds.add(kind)
        if kind == 2:
            at += 4 + 4 * struct.unpack_from(">H", passed, at + 2)[0]
        elif kind == 248:
            at += 9 + passed[at + 8]
        else:
            at += {0: 20, 3: 10, 150: 10}[kind]
    assert at == len(passed), "the last message is not whole"
    return kinds


Noise = st.one_of(
    st.sampled_from(LOOKING + DOING + list(UNKNOWN.values())),
    st.binary(max_size=40),
    st.builds(lambda kind, rest: bytes([kind]) + rest, st.integers(0, 255), st.binary(max_size=30)),
)


@settings(max_examples=400)
@given(st.lists(Noise, max_size=40), st.lists(st.integers(1, 17), min_size=1, max_size=5))
@example([struct.pack(">Bxxxi", 6, -(2**31)), b"\4" * 64], [3])
def test_only_what_watchers_may_say_reaches_the_machine(noise: list[bytes], steps: list[int]) -> None:
    messages, said, passed, at, turn = ClientMessages(Role.WATCH), b"".join(noise), b"", 0, 0
    try:
        while at < len(said):
            step = steps[turn % len(steps)]
            passed += messages.receive(said[at : at + step])
            assert kept(messages) <= 8 + 255 * 16
            at, turn = at + step, turn + 1
    except ProtocolError:
        pass
    assert take_apart(passed) <= {0, 2, 3, 150, 248}
    assert messages.inputs == 0
