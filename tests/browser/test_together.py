"""Several people before one screen, each in a browser of their own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from desktops.models import Room
from instances.models import Member, MemberRole
from tests.browser.conftest import Visit, aside, hearing
from tests.browser.screens import Screen
from tests.browser.test_desktop import desktop, shows
from tests.people import Facility
from tests.servers import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def both(people: Facility, screen: Screen, visit: Visit) -> tuple[Page, Page]:
    """Alice and Bob look at Alice's machine, and know of each other."""
    pages = visit(people.alice, desktop(people)), visit(people.bob, desktop(people))
    for page in pages:
        shows(page)
        opened(page, "people")
        expect(page.locator(".here > li")).to_have_count(2)
    return pages


def opened(page: Page, tab: str) -> Locator:
    """The drawer at this tab."""
    if page.locator(f"#panel-{tab}").is_hidden():
        page.locator(f"#open-{tab}").dispatch_event("click")
    return page.locator(f"#panel-{tab}")


def entry(page: Page, name: str) -> Locator:
    return page.locator(".here > li").filter(has_text=name)


def test_two_people_see_each_other_and_what_they_may_do(both: tuple[Page, Page]) -> None:
    alice, bob = both
    expect(alice.locator(".here > li").first).to_contain_text("Alice Example (you)")
    expect(bob.locator(".here > li").first).to_contain_text("Bob Example (you)")
    expect(entry(bob, "Alice")).to_contain_text("owner · Institute of Examples")
    expect(entry(alice, "Bob")).to_contain_text("full control")


def write(page: Page, text: str) -> None:
    box = opened(page, "chat").get_by_label("Write to everyone here")
    box.fill(text)
    box.press("Enter")


def test_they_write_to_each_other_and_what_is_unread_is_counted(both: tuple[Page, Page]) -> None:
    alice, bob = both
    write(alice, "Look at https://example.org/peaks, there.")
    expect(bob.locator("#tab-chat .badge")).to_have_text("1")
    expect(bob.locator("#toast")).to_contain_text("Alice Example: Look at")
    link = opened(bob, "chat").get_by_role("link")
    expect(link).to_have_text("https://example.org/peaks")
    expect(link).to_have_attribute("rel", "noopener noreferrer")
    expect(bob.locator("#tab-chat .badge")).to_be_hidden()
    write(bob, "I see it.\nTwo lines.")
    expect(opened(alice, "chat")).to_contain_text("I see it.")


def test_markup_in_a_message_stays_text(both: tuple[Page, Page]) -> None:
    alice, bob = both
    write(alice, "<img src=x onerror=alert(1)> javascript:alert(1)")
    expect(opened(bob, "chat").locator(".bubble")).to_have_text("<img src=x onerror=alert(1)> javascript:alert(1)")
    expect(bob.locator("#panel-chat img, #panel-chat a")).to_have_count(0)


def test_what_is_written_to_people_does_not_reach_the_machine(both: tuple[Page, Page], screen: Screen) -> None:
    alice, _bob = both
    screen.keys.clear()
    box = opened(alice, "chat").get_by_label("Write to everyone here")
    box.click()
    alice.keyboard.type("hello")
    alice.keyboard.press("Escape")
    alice.keyboard.press("b")
    wait_until(lambda: screen.keys, "a key")
    assert screen.keys == [ord("b")]
    expect(box).to_have_value("hello")


def test_a_message_written_without_a_line_is_sent_when_it_is_back(both: tuple[Page, Page]) -> None:
    alice, bob = both
    opened(alice, "chat")
    alice.context.set_offline(True)
    write(alice, "Are you there?")
    expect(alice.locator(".waiting")).to_contain_text("Waiting for the network")
    alice.context.set_offline(False)
    expect(alice.locator(".waiting")).to_have_count(0)
    expect(opened(bob, "chat").locator(".bubble")).to_have_text("Are you there?")


def test_the_others_see_who_is_typing(both: tuple[Page, Page]) -> None:
    alice, bob = both
    opened(bob, "chat")
    opened(alice, "chat").get_by_label("Write to everyone here").press_sequentially("Well")
    expect(bob.locator(".typing")).to_have_text("Alice Example is typing…")
    expect(bob.locator(".typing")).to_have_text("")


def test_a_pointer_carries_its_name_to_the_others(both: tuple[Page, Page]) -> None:
    alice, bob = both
    bob.set_viewport_size({"width": 1000, "height": 500})
    box = alice.locator("#screen canvas").bounding_box()
    assert box
    alice.mouse.move(box["x"] + box["width"] / 4, box["y"] + box["height"] / 2)
    pointer = bob.locator(".pointer")
    expect(pointer).to_have_text("Alice Example")
    seen = bob.locator("#screen canvas").bounding_box()
    assert seen

    def there() -> bool:
        tip = pointer.bounding_box()
        assert tip
        return abs(tip["x"] - seen["x"] - seen["width"] / 4) < 2 and abs(tip["y"] - seen["y"] - seen["height"] / 2) < 2

    wait_until(there, "the pointer at the same place of the smaller picture")
    alice.locator("#tab-chat").hover()
    expect(pointer).to_have_count(0)
    expect(alice.locator(".pointer")).to_have_count(0)


def test_what_is_drawn_is_seen_by_the_others_and_nothing_goes_to_the_machine(
    both: tuple[Page, Page],
    screen: Screen,
) -> None:
    alice, bob = both
    alice.locator("#draw").dispatch_event("click")
    screen.keys.clear()
    screen.clicks = 0
    box = alice.locator("#screen canvas").bounding_box()
    assert box
    alice.mouse.move(box["x"] + 50, box["y"] + 50)
    alice.mouse.down()
    alice.mouse.move(box["x"] + 250, box["y"] + 150, steps=8)
    alice.mouse.up()
    wait_until(lambda: inked(bob) > 100, "ink")
    alice.keyboard.press("x")
    alice.get_by_role("button", name="Clear all drawings").click()
    wait_until(lambda: inked(bob) == 0, "no ink")
    alice.keyboard.press("Escape")
    expect(alice.locator("#strip")).to_be_hidden()
    assert not screen.keys
    assert not screen.clicks


def inked(page: Page) -> int:
    """How many pixels are drawn on."""
    return int(
        page.locator("#ink").evaluate_all(
            "([ink]) => ink ? ink.getContext('2d').getImageData(0, 0, ink.width, ink.height).data"
            ".reduce((sum, part, at) => sum + (at % 4 === 3 && part > 0), 0) : 0"
        )
    )


def test_the_owner_freezes_everybody_and_lets_them_go_on(both: tuple[Page, Page], screen: Screen) -> None:
    alice, bob = both
    alice.get_by_role("button", name="Freeze everyone").click()
    expect(bob.locator("#banner")).to_contain_text("Alice Example has frozen the desktop.")
    expect(alice.locator("#banner")).to_contain_text("Only you can control")
    screen.keys.clear()
    bob.locator("#screen canvas").click()
    bob.keyboard.press("b")
    alice.locator("#screen canvas").click()
    alice.keyboard.press("a")
    wait_until(lambda: screen.keys, "Alice's key")
    assert screen.keys == [ord("a")]
    alice.locator("#banner").get_by_role("button", name="Let everyone go on").click()
    expect(bob.locator("#banner > *")).to_have_count(0)


def test_the_baton_is_asked_for_given_and_passed_back(both: tuple[Page, Page]) -> None:
    alice, bob = both
    alice.get_by_role("radio", name="One at a time").check(force=True)
    expect(bob.locator("#banner")).to_contain_text("Alice Example has control.")
    bob.locator("#banner").get_by_role("button", name="Ask for control").click()
    card = alice.locator("#asks > li")
    expect(card).to_contain_text("Bob Example asks for control")
    card.get_by_role("button", name="Give control").click()
    expect(card).to_have_count(0)
    expect(entry(bob, "Bob")).to_contain_text("has control")
    bob.locator("#banner").get_by_role("button", name="Pass control back").click()
    expect(entry(alice, "Alice")).to_contain_text("has control")


def test_a_request_takes_no_keyboard_and_is_reached_by_it(both: tuple[Page, Page], screen: Screen) -> None:
    alice, bob = both
    alice.get_by_role("radio", name="One at a time").check(force=True)
    alice.locator("#screen canvas").click()
    bob.locator("#banner").get_by_role("button", name="Ask for control").click()
    expect(alice.locator("#announcer")).to_contain_text("Bob Example asks for control")
    screen.keys.clear()
    alice.keyboard.press("a")
    wait_until(lambda: screen.keys == [ord("a")], "the key")
    alice.keyboard.press("Control+Alt+Shift")
    alice.keyboard.press("r")
    expect(alice.locator("#asks").get_by_role("button", name="Give control")).to_be_focused()


def test_who_is_shown_out_is_told_and_may_open_again(both: tuple[Page, Page]) -> None:
    alice, bob = both
    entry(alice, "Bob").locator("summary").click()
    alice.get_by_role("button", name="Close their screen").click()
    expect(bob.locator("#veil")).to_contain_text("The owner closed your screen.")
    expect(alice.locator(".here > li")).to_have_count(1)
    bob.get_by_role("button", name="Open again").click()
    shows(bob)


def test_a_guest_only_watches_and_is_told_so(people: Facility, screen: Screen, visit: Visit) -> None:
    Member.objects.filter(user=people.bob).update(role=MemberRole.GUEST)
    alice, bob = visit(people.alice, desktop(people)), visit(people.bob, desktop(people))
    shows(alice)
    shows(bob)
    expect(bob.locator("#banner")).to_contain_text("You are watching.")
    expect(bob.locator("#banner").get_by_role("button")).to_have_count(0)
    expect(bob.locator("#draw")).to_be_hidden()
    opened(alice, "people").get_by_text("Watchers may point and draw").click()
    expect(bob.locator("#draw")).to_be_attached()
    expect(bob.locator("#draw")).not_to_have_attribute("hidden", "")
    assert aside(Room.objects.get).watchers_draw


def test_who_waits_for_the_owner_comes_in_by_themselves_and_asks_nothing_meanwhile(
    people: Facility,
    screen: Screen,
    visit: Visit,
) -> None:
    bob = hearing(visit(people.bob, desktop(people)))
    expect(bob.locator("#veil")).to_contain_text("The owner is away.")
    expect(opened(bob, "people")).to_contain_text("Who is here is shown as soon as you are in.")
    expect(bob.locator("#panel-people").get_by_text("Here now")).to_be_hidden()
    bob.wait_for_load_state("networkidle")
    asked: list[str] = []
    bob.on("request", lambda request: asked.append(request.url))
    bob.on("websocket", lambda socket: asked.append(socket.url))
    bob.wait_for_timeout(6000)  # long enough for any of the polls that there once were
    assert not asked
    alice = visit(people.alice, desktop(people))
    shows(alice)
    shows(bob)


def test_a_picture_for_the_eye(both: tuple[Page, Page], tmp_path: Path) -> None:
    """The drawer lies beside the screen, not over it."""
    alice, _bob = both
    canvas, side = alice.locator("#screen canvas").bounding_box(), alice.locator("#side").bounding_box()
    assert canvas
    assert side
    assert canvas["x"] + canvas["width"] <= side["x"]
    alice.reload()
    expect(alice.locator("#panel-people")).to_be_visible()  # as it was left
    alice.locator("#side-close").click()
    expect(alice.locator("#open-people")).to_have_attribute("aria-expanded", "false")
    assert re.fullmatch("false", alice.locator("#open-people").get_attribute("aria-expanded") or "")
