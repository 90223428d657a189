"""What a watcher may send to a kernel."""

from __future__ import annotations

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from desktops.webapps import kernels
from desktops.webapps.kernels import V1, Unreadable, for_watcher, reads_only

HEADER = {"msg_id": "1", "msg_type": "kernel_info_request", "session": "s", "username": "", "date": "", "version": "5"}


def v1(kind: str, channel: str = "shell", content: dict[str, object] | None = None) -> bytes:
    return kernels._v1(channel, [HEADER | {"msg_type": kind}, {}, {}, content or {}])


def plain(kind: str, channel: str = "shell", content: dict[str, object] | None = None) -> str:
    return kernels._plain(channel, [HEADER | {"msg_type": kind}, {}, {}, content or {}])


def with_buffers(said: str) -> bytes:
    return struct.pack("!iII", 2, 12, 12 + len(said)) + said.encode() + b"buffer"


RUNS = ["execute_request", "comm_open", "comm_msg", "complete_request", "inspect_request", "input_reply"]
RUNS += ["shutdown_request", "interrupt_request", "debug_request", "", "Kernel_Info_Request", "kernel_info_request "]


@pytest.mark.parametrize("kind", RUNS)
def test_what_could_run_something_does_not_pass(kind: str) -> None:
    assert for_watcher(v1(kind), V1) is None
    assert for_watcher(plain(kind), None) is None
    assert for_watcher(with_buffers(plain(kind)), None) is None


@pytest.mark.parametrize("kind", sorted(kernels.READS))
def test_questions_pass_in_the_protocol_they_came_in(kind: str) -> None:
    assert for_watcher(v1(kind), V1) == v1(kind)
    assert for_watcher(plain(kind), None) == plain(kind)
    assert for_watcher(with_buffers(plain(kind)), None) == plain(kind)


@pytest.mark.parametrize("channel", ["stdin", "iopub", "hb", "elsewhere"])
def test_questions_go_to_no_other_channel(channel: str) -> None:
    assert for_watcher(v1("kernel_info_request", channel), V1) is None


def test_nothing_goes_on_that_was_not_understood() -> None:
    said = json.loads(plain("kernel_info_request", content={"code": "evil()"})) | {"msg_type": "execute_request"}
    said["header"]["extra"] = "x"
    passed = for_watcher(json.dumps(said), None)
    assert passed == plain("kernel_info_request")


def test_of_two_kinds_in_one_header_none_slips_through() -> None:
    said = plain("kernel_info_request").replace('"msg_type"', '"msg_type": "execute_request", "msg_type"')
    assert for_watcher(said, None) == plain("kernel_info_request")


@pytest.mark.parametrize("said", [b"", b"\xff" * 40, struct.pack("<7Q", 6, 1 << 60, 0, 0, 0, 0, 0), "text"])
def test_rubbish_is_unreadable(said: bytes | str) -> None:
    with pytest.raises(Unreadable):
        for_watcher(said, V1)


@pytest.mark.parametrize("said", [b"\0\0\0\0", b"\xff\xff\xff\xff", "[]", "{}", '{"header": []}', "[" * 5000])
def test_rubbish_of_the_older_protocol_is_unreadable(said: bytes | str) -> None:
    with pytest.raises(Unreadable):
        for_watcher(said, None)


def test_a_message_of_a_watcher_is_short() -> None:
    assert for_watcher(b"x" * (kernels.MOST_BYTES + 1), V1) is None


@given(st.binary(max_size=300), st.sampled_from([V1, None]))
def test_whatever_comes_is_refused_or_read(said: bytes, protocol: str | None) -> None:
    try:
        assert for_watcher(said, protocol) is None
    except Unreadable:
        assert not reads_only(said, protocol)
