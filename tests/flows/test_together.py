"""Three people in three browsers before one real machine: its owner, a guest who may only watch, and support."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.flows.conftest import Desk, signed_in
from tests.flows.installation import MACHINE_PATIENCE, Installation
from tests.flows.machine import at_rest, at_work, changes, colours, differing, inside, open_terminal, picture
from tests.servers import wait_until

pytestmark = [pytest.mark.qemu, pytest.mark.browser]

PICTURES = Path(os.environ.get("VISA_PICTURES", "/nowhere"))
SOON = 60_000
GRACE = 3


@dataclass
class Three:
    """The pages of Alice, Bob and Sam; Alice has her desktop open."""

    alice: Page
    bob: Page
    sam: Page
    uuid: str

    def shot(self, name: str) -> None:
        """Pictures for the eye, where somebody wants to look."""
        if PICTURES.is_dir():
            for who in ("alice", "bob", "sam"):
                getattr(self, who).screenshot(path=PICTURES / f"{name}-{who}.png")


@pytest.fixture(scope="module")
def three(visa: Installation, chromium: Browser, desk: Desk) -> Iterator[Three]:
    visa.manage(
        "shell",
        "-c",
        "from desktops.models import Policy; p = Policy.current(); "
        f"p.grace_seconds = {GRACE}; p.unattended_support = False; p.save()",
    )
    contexts = [signed_in(chromium, visa, name) for name in ("bob", "sam")]
    bob, sam = (context.new_page() for context in contexts)
    yield Three(desk.page, bob, sam, desk.uuid)
    for context in contexts:
        context.close()


def panel(page: Page, tab: str) -> Locator:
    """The drawer, at this tab."""
    if page.locator(f"#panel-{tab}").is_hidden():
        page.locator(f"#open-{tab}").dispatch_event("click")
    return page.locator(f"#panel-{tab}")


def desktop(visa: Installation, three: Three) -> str:
    return f"{visa.url}/machines/{three.uuid}/desktop/"


def opened(page: Page) -> None:
    expect(page.locator("#veil")).to_be_hidden(timeout=SOON)
    wait_until(lambda: colours(page) > 30, "the desktop's picture")


def type_at_screen(page: Page, text: str) -> None:
    page.locator("#screen canvas").click(position={"x": 640, "y": 500})
    page.keyboard.type(text)


def written(three: Three, name: str) -> bool:
    """Whether what somebody typed made that file in Alice's home."""
    return bool(inside(three.uuid, f"ls ~alice/{name}"))


def test_alice_adds_bob_as_a_guest(visa: Installation, three: Three, desk: Desk) -> None:
    at_work(desk)
    page = three.alice.context.new_page()
    page.goto(f"{visa.url}/machines/{three.uuid}/")
    page.locator("#people summary", has_text="Add people").click()
    page.locator("#people-add").get_by_text("View only").click()
    page.get_by_role("searchbox", name="Search people").press_sequentially("bob")
    page.get_by_role("button", name="Add Bob").click()
    expect(page.locator("#people > .people")).to_contain_text("View only")
    page.close()


def test_a_guest_sees_the_desktop_and_what_they_type_changes_no_pixel(
    visa: Installation, three: Three, desk: Desk
) -> None:
    open_terminal(desk)
    three.bob.goto(desktop(visa, three))
    opened(three.bob)
    expect(three.bob.locator("#banner")).to_contain_text("You are watching.")
    before = picture(three.bob)
    assert before.size == picture(three.alice).size
    type_at_screen(three.bob, "touch ~/by-bob\n")
    type_at_screen(three.alice, "touch ~/by-alice\n")
    wait_until(lambda: written(three, "by-alice"), "Alice's file", 60)
    assert not written(three, "by-bob")
    wait_until(lambda: differing(before, picture(three.bob)) > 0, "Alice's typing on Bob's screen")
    wait_until(lambda: at_rest(three.bob), "a still screen", 60)
    calm = picture(three.bob)
    three.bob.keyboard.type("zzzzzzzz")
    three.bob.wait_for_timeout(3000)  # nothing is awaited but that nothing comes
    assert differing(calm, picture(three.bob)) < 300  # a cursor that blinks, a clock that goes on
    three.shot("watching")


def test_one_terminal_is_typed_in_by_its_owner_and_watched_by_a_guest(
    visa: Installation, three: Three, chromium: Browser
) -> None:
    def rows(page: Page) -> Locator:
        expect(page.locator("#veil")).to_be_hidden(timeout=MACHINE_PATIENCE * 1000)
        return page.locator(".xterm-rows")

    address = f"{visa.url}/machines/{three.uuid}/terminal/"
    alice, bob = three.alice.context.new_page(), three.bob.context.new_page()
    alice.goto(address)
    expect(rows(alice)).to_contain_text("$", timeout=SOON)
    alice.keyboard.type("kept=$(id -un); echo $kept has $((6 * 7))\n")
    expect(rows(alice)).to_contain_text("alice has 42", timeout=SOON)
    alice.reload()
    expect(rows(alice)).to_contain_text("alice has 42", timeout=SOON)
    bob.goto(address)
    expect(rows(bob)).to_contain_text("alice has 42", timeout=SOON)
    bob.keyboard.type("touch ~/by-bob\n")
    alice.keyboard.type("clear; echo still $kept\n")
    expect(rows(bob)).to_contain_text("still alice", timeout=SOON)
    assert not written(three, "by-bob")
    if PICTURES.is_dir():
        for who, page in (("alice", alice), ("bob", bob)):
            page.screenshot(path=PICTURES / f"terminal-{who}.png")
    charlie = signed_in(chromium, visa, "charlie")
    assert charlie.request.get(address).status == 404
    assert "ID alice" in inside(three.uuid, "journalctl -b -o cat | grep visa-owner")
    charlie.close()
    alice.close()
    bob.close()


def test_what_the_owner_uploads_lies_in_the_machine_and_a_guest_may_look_at_it(
    visa: Installation, three: Three, tmp_path: Path
) -> None:
    address = f"{visa.url}/machines/{three.uuid}/files/"
    alice, bob = three.alice.context.new_page(), three.bob.context.new_page()
    alice.goto(address)
    expect(alice.locator("#rows")).to_contain_text(".bashrc", timeout=MACHINE_PATIENCE * 1000)
    (tmp_path / "run 1.txt").write_text("counts " * 1_000_000)
    alice.locator("#picked").set_input_files(tmp_path / "run 1.txt")
    expect(alice.locator("#queue")).to_contain_text("Arrived", timeout=60_000)
    assert inside(three.uuid, "stat -c '%U %s' ~alice/'run 1.txt'") == "alice 7000000\n"
    bob.goto(address)
    bob.get_by_role("button", name="run 1.txt").click(timeout=60_000)
    expect(bob.locator("#preview-body")).to_contain_text("counts counts", timeout=SOON)
    expect(bob.locator("#pick")).to_be_hidden()
    bob.close()
    alice.close()


def test_support_asks_and_is_let_in(visa: Installation, three: Three) -> None:
    three.sam.goto(desktop(visa, three))
    expect(three.sam.locator("#veil")).to_be_visible()
    three.sam.get_by_label("Why do you want to join?").fill("The detector image looks wrong.")
    three.sam.get_by_role("button", name="Ask to join").click()
    card = three.alice.locator("#asks > li")
    expect(card).to_contain_text("asks to join", timeout=SOON)
    expect(card).to_contain_text("The detector image looks wrong.")
    three.shot("asking")
    card.get_by_role("button", name="Let in with control").click()
    opened(three.sam)
    expect(panel(three.alice, "people").locator(".here > li")).to_have_count(3)
    type_at_screen(three.sam, "touch ~/by-sam\n")
    wait_until(lambda: written(three, "by-sam"), "Sam's file", 60)
    three.shot("together")


def test_the_baton_goes_to_who_asks_and_comes_back(three: Three) -> None:
    panel(three.alice, "people").get_by_role("radio", name="One at a time").check(force=True)
    expect(three.sam.locator("#banner")).to_contain_text("Alice Martin has control.")
    type_at_screen(three.sam, "touch ~/without\n")
    three.sam.locator("#banner").get_by_role("button", name="Ask for control").click()
    three.alice.locator("#asks > li").get_by_role("button", name="Give control").click()
    expect(three.sam.locator("#banner")).to_contain_text("You have control.", timeout=SOON)
    type_at_screen(three.sam, "touch ~/with\n")
    wait_until(lambda: written(three, "with"), "the file of who has control", 60)
    assert not written(three, "without")
    three.shot("baton")
    three.sam.locator("#banner").get_by_role("button", name="Pass control back").click()
    alice = panel(three.alice, "people").locator(".here > li").filter(has_text="Alice")
    expect(alice).to_contain_text("has control", timeout=SOON)
    type_at_screen(three.alice, "touch ~/again\n")
    wait_until(lambda: written(three, "again"), "the owner's file", 60)
    panel(three.alice, "people").get_by_role("radio", name="Everyone at once").check(force=True)
    expect(three.sam.locator("#banner")).not_to_contain_text("control")


def test_one_press_freezes_everybody_but_the_owner(three: Three) -> None:
    three.alice.get_by_role("button", name="Freeze everyone").click()
    expect(three.sam.locator("#banner")).to_contain_text("has frozen the desktop")
    type_at_screen(three.sam, "touch ~/frozen\n")
    type_at_screen(three.alice, "touch ~/owner-goes-on\n")
    wait_until(lambda: written(three, "owner-goes-on"), "the owner's file", 60)
    assert not written(three, "frozen")
    three.shot("frozen")
    three.alice.locator("#banner").get_by_role("button", name="Let everyone go on").click()
    expect(three.sam.locator("#banner")).not_to_contain_text("frozen")


def test_all_talk_beside_the_desktop(three: Three) -> None:
    pages = {"alice": three.alice, "bob": three.bob, "sam": three.sam}
    for name, page in pages.items():
        box = panel(page, "chat").get_by_label("Write to everyone here")
        box.fill(f"{name} was here")
        box.press("Enter")
    for page in pages.values():
        for name in pages:
            expect(page.locator("#panel-chat")).to_contain_text(f"{name} was here", timeout=SOON)
    three.shot("chat")


def test_who_is_shown_out_is_told_by_whom(three: Three) -> None:
    entry = panel(three.alice, "people").locator(".here > li").filter(has_text="Sam")
    entry.locator("summary").click()
    three.alice.get_by_role("button", name="Close their screen").click()
    expect(three.sam.locator("#veil")).to_contain_text("Your time on this desktop is over.", timeout=SOON)
    expect(panel(three.sam, "people").get_by_text("Here now")).to_be_hidden()
    expect(panel(three.alice, "people").locator(".here > li")).to_have_count(2)


def test_the_guest_waits_while_the_owner_is_away_and_comes_in_by_itself(visa: Installation, three: Three) -> None:
    three.alice.goto(visa.url)
    expect(three.bob.locator("#veil")).to_contain_text("The owner is away.", timeout=SOON)
    expect(three.bob.locator("#panel-people")).to_contain_text("Who is here is shown as soon as you are in.")
    three.shot("away")
    three.alice.goto(desktop(visa, three))
    opened(three.alice)
    opened(three.bob)
    assert changes(three.alice, lambda: type_at_screen(three.alice, "clear\n"))
