"""The main story: from signing in to working on a real desktop of a real machine, and what may happen on the way."""

from __future__ import annotations

import io
import os
import signal
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, expect

from tests.flows.conftest import Desk, signed_in
from tests.flows.installation import MACHINE_PATIENCE, Installation, Person, virsh
from tests.flows.machine import at_work, changes, colours, inside, open_terminal, picture
from tests.servers import wait_until

pytestmark = [pytest.mark.qemu, pytest.mark.browser]

PICTURES = Path(os.environ.get("VISA_PICTURES", "/nowhere"))


def test_the_steps_were_shown_while_the_machine_was_made(desk: Desk) -> None:
    shown = " ".join(desk.steps).lower()
    assert "disk" in shown
    assert "desktop" in shown


def test_the_canvas_shows_the_desktop_in_the_size_that_was_chosen(desk: Desk) -> None:
    wait_until(lambda: colours(desk.page) > 30, "a drawn desktop")
    assert picture(desk.page).size == (1280, 800)


def test_a_right_click_opens_the_menu_and_escape_closes_it(desk: Desk) -> None:
    at_work(desk)
    canvas = desk.page.locator("#screen canvas")
    assert changes(desk.page, lambda: canvas.click(button="right", position={"x": 640, "y": 420}))
    if PICTURES.is_dir():
        desk.page.screenshot(path=PICTURES / "desktop.png")
    assert changes(desk.page, lambda: desk.page.keyboard.press("Escape"))


def test_what_is_typed_is_written_in_the_machine(desk: Desk) -> None:
    open_terminal(desk)
    desk.page.keyboard.type("echo written by hand > ~/typed\n")
    wait_until(lambda: inside(desk.uuid, "cat ~alice/typed") == "written by hand\n", "the typed line as a file", 60)
    assert inside(desk.uuid, "stat -c %U ~alice/typed").strip() == "alice"


def test_clicks_reach_the_machine_where_they_were_made(desk: Desk) -> None:
    """The terminal reports two presses and releases (xterm's mouse tracking) to a program that writes them down."""
    desk.page.keyboard.type("stty -icanon -echo; printf '\\033[?1000h'; touch ~/listens; head -c 24 > ~/clicks\n")
    wait_until(lambda: inside(desk.uuid, "ls ~alice/listens"), "a program that listens for clicks", 60)
    for x, y in ((560, 380), (740, 450)):
        desk.page.locator("#screen canvas").click(position={"x": x, "y": y})
    wait_until(lambda: len(inside(desk.uuid, "cat ~alice/clicks")) == 24, "two clicks as a file", 60)
    reports = inside(desk.uuid, "cat ~alice/clicks").split("\033[M")[1:]
    assert [report[0] for report in reports] == [" ", "#", " ", "#"]  # left button down, and up again
    (left, upper), (right, lower) = ((ord(report[1]), ord(report[2])) for report in reports[::2])
    assert left < right
    assert upper < lower


def test_the_machine_is_alices_own(desk: Desk) -> None:
    wait_until(lambda: inside(desk.uuid, "true; echo well"), "the guest agent", MACHINE_PATIENCE, every=2)
    assert "Alice" in inside(desk.uuid, "getent passwd alice")
    assert "alice" in inside(desk.uuid, "ps -C Xvnc,Xtigervnc -o user=")
    assert desk.uuid[:6] in inside(desk.uuid, "hostname")


def test_charlie_finds_no_such_machine(desk: Desk, visa: Installation, chromium: Browser) -> None:
    context = signed_in(chromium, visa, "charlie")
    for path in (f"/machines/{desk.uuid}/", f"/machines/{desk.uuid}/desktop/"):
        answer = context.request.get(f"{visa.url}{path}")
        assert answer.status == 404
    context.close()


def test_the_relay_gives_charlie_nothing(desk: Desk, visa: Installation, chromium: Browser) -> None:
    context = signed_in(chromium, visa, "charlie")
    page = context.new_page()
    page.goto(visa.url)
    code = page.evaluate(
        """(address) => new Promise((resolve) => {
            const socket = new WebSocket(address, ["binary"]);
            socket.onmessage = () => resolve("bytes");
            socket.onclose = (event) => resolve(event.code);
        })""",
        f"ws://localhost:{visa.port}/desktops/{desk.uuid}/screen/",
    )
    assert code == 4404
    context.close()


def test_a_killed_web_process_is_a_short_pause_and_no_reload(desk: Desk, visa: Installation) -> None:
    desk.page.evaluate("window.stayed = true")
    os.kill(visa.pid("web"), signal.SIGKILL)
    expect(desk.page.locator("#veil")).to_be_visible(timeout=15_000)
    expect(desk.page.locator("#veil")).to_be_hidden(timeout=60_000)
    wait_until(lambda: colours(desk.page) > 30, "the desktop again")
    assert desk.page.evaluate("window.stayed") is True


def test_the_card_shows_a_live_picture(desk: Desk, visa: Installation) -> None:
    alice = Person(visa, "alice")
    address = f"{visa.url}/api/v1/instances/{desk.uuid}/thumbnail/"
    wait_until(lambda: alice.session.get(address, timeout=10).status_code == 200, "a thumbnail", patience=120)
    small = Image.open(io.BytesIO(alice.session.get(address, timeout=10).content))
    assert len(small.convert("RGB").getcolors(1 << 24) or []) > 30


def test_after_ctrl_c_the_machine_goes_on_and_the_next_start_finds_it(desk: Desk, visa: Installation) -> None:
    visa.stop()
    assert "Stopping VISA" in visa.output()
    assert any("qemu" in Path(f"/proc/{pid}/comm").read_text() for pid in os.listdir("/proc") if pid.isdigit())
    visa.start()
    alice = Person(visa, "alice")
    assert alice.get(f"instances/{desk.uuid}/")["state"] == "active"


def test_a_machine_is_restarted_stopped_and_started(desk: Desk, visa: Installation) -> None:
    alice = Person(visa, "alice")

    def until(state: str) -> None:
        wait_until(
            lambda: alice.get(f"instances/{desk.uuid}/")["state"] == state,
            f"state {state}",
            MACHINE_PATIENCE,
            every=0.5,
        )

    for action, outcome in (("reboot", "active"), ("stop", "stopped"), ("start", "active")):
        assert alice.post(f"instances/{desk.uuid}/{action}/").status_code == 202
        until(outcome)
    assert f"visa-{desk.uuid}" in virsh("list", "--name", "--state-running")
