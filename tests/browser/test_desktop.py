"""The desktop's page before a screen that paints, goes away and comes back."""

from __future__ import annotations

import re

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from instances.models import Instance, Member
from instances.states import State
from tests.browser.conftest import Site, Visit, aside
from tests.browser.screens import Screen
from tests.people import Facility
from tests.servers import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def desktop(people: Facility) -> str:
    return f"/machines/{people.machine.uuid}/desktop/"


def pixel(page: Page, x: int, y: int) -> list[int]:
    """Red, green and blue of one pixel of the canvas."""
    script = "(canvas, [x, y]) => [...canvas.getContext('2d').getImageData(x, y, 1, 1).data].slice(0, 3)"
    colour: list[int] = page.locator("#screen canvas").evaluate(script, [x, y])
    return colour


def shows(page: Page) -> None:
    """The picture is there: blue above, amber below."""
    expect(page.locator("#veil")).to_be_hidden()
    expect(page.locator("#screen canvas")).to_have_count(1)
    wait_until(lambda: pixel(page, 20, 20) == [0, 0x40, 0xA0] and pixel(page, 20, 150) == [0xFF, 0xB4, 0x3C], "pixels")


def test_one_canvas_shows_the_screen_to_owner_and_member(people: Facility, screen: Screen, visit: Visit) -> None:
    for person in (people.alice, people.bob):
        page = visit(person, desktop(people))
        shows(page)
        expect(page.locator("canvas")).to_have_count(1)


def test_charlie_finds_no_desktop(people: Facility, screen: Screen, visit: Visit) -> None:
    page = visit(people.charlie, desktop(people))
    expect(page.get_by_role("heading", level=1)).to_have_text("There is nothing at this address")


def test_keys_and_text_reach_the_machine(people: Facility, screen: Screen, visit: Visit) -> None:
    page = visit(people.alice, desktop(people))
    shows(page)
    page.keyboard.press("a")
    wait_until(lambda: ord("a") in screen.keys, "the key")
    page.keyboard.press("Control+Alt+Shift")
    page.get_by_role("button", name="Keys").click()
    page.get_by_role("button", name="Ctrl+Alt+Del").click()
    wait_until(lambda: 0xFFFF in screen.keys, "Delete")
    page.get_by_role("button", name="Clipboard").click()
    page.get_by_label("Text to exchange with the machine").fill("some text")
    page.get_by_role("button", name="Send to the machine").click()
    wait_until(lambda: screen.text == "some text", "the text")


def test_a_touch_screen_types_with_its_own_keyboard(people: Facility, screen: Screen, visit: Visit) -> None:
    page = visit(people.alice, desktop(people), viewport={"width": 390, "height": 800}, has_touch=True, is_mobile=True)
    shows(page)
    page.keyboard.press("Control+Alt+Shift")
    page.get_by_role("button", name="Keyboard of this device").click()
    page.keyboard.insert_text("é€")
    page.keyboard.press("Backspace")
    wait_until(lambda: screen.keys[-3:] == [0xE9, 0x010020AC, 0xFF08], "two letters and a backspace")


def test_text_copied_in_the_machine_comes_to_the_page(
    people: Facility, screen: Screen, visit: Visit, site: Site
) -> None:
    page = visit(people.alice, desktop(people))
    shows(page)
    site.call(screen.say(b"\x03\0\0\0" + (5).to_bytes(4, "big") + b"hello"))
    expect(page.locator("#clip-text")).to_have_value("hello")


def test_the_toolbar_hides_and_comes_back_for_the_keyboard(people: Facility, screen: Screen, visit: Visit) -> None:
    page = visit(people.alice, desktop(people))
    shows(page)
    bar = page.get_by_role("toolbar")
    expect(page.locator("#bar")).not_to_have_class(re.compile("open"))
    page.keyboard.press("Control+Alt+Shift")
    expect(bar.get_by_role("link", name="All machines")).to_be_focused()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(bar.get_by_role("button", name="People")).to_be_focused()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("Show or hide the toolbar")


def test_the_picture_can_be_saved(people: Facility, screen: Screen, visit: Visit) -> None:
    page = visit(people.alice, desktop(people))
    shows(page)
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save a picture of the screen").click()
    assert saved.value.suggested_filename.endswith(".png")


def test_the_meter_measures_the_round_trip(people: Facility, screen: Screen, visit: Visit) -> None:
    page = visit(people.alice, desktop(people))
    shows(page)
    page.keyboard.press("Control+Alt+Shift")
    page.locator("#mark").click()
    expect(page.locator("#n-trip")).to_have_text(re.compile(r"^\d+ ms$"))
    expect(page.locator("#n-size")).to_have_text("320 × 200")


def test_a_screen_that_comes_back_is_shown_without_a_reload(
    people: Facility, screen: Screen, visit: Visit, site: Site
) -> None:
    page = visit(people.alice, desktop(people))
    shows(page)
    page.evaluate("window.stayed = true")
    site.call(screen.close())
    expect(page.locator("#veil")).to_be_visible()
    expect(page.locator("#frozen")).to_be_visible()  # what was seen last stays, dimmed
    site.call(screen.open())
    shows(page)
    assert page.evaluate("window.stayed") is True


def test_without_network_the_page_says_so_and_goes_on_afterwards(
    people: Facility, screen: Screen, visit: Visit
) -> None:
    page = visit(people.alice, desktop(people))
    shows(page)
    page.context.set_offline(True)
    expect(page.locator("#veil")).to_contain_text("Your computer has no network.")
    page.context.set_offline(False)
    shows(page)


def test_somebody_taken_off_the_machine_is_told_and_not_let_back(
    people: Facility, screen: Screen, visit: Visit
) -> None:
    shows(visit(people.alice, desktop(people)))
    page = visit(people.bob, desktop(people))
    shows(page)
    aside(Member.objects.filter(instance=people.machine, user=people.bob).get().delete)
    expect(page.locator("#veil")).to_contain_text(re.compile("may no longer see this desktop|not shared with you"))
    expect(page.get_by_role("link", name="All machines").last).to_be_visible()


def test_an_ended_sign_in_offers_to_sign_in_again(people: Facility, screen: Screen, visit: Visit, site: Site) -> None:
    page = visit(people.alice, desktop(people))
    shows(page)
    page.context.clear_cookies()
    site.call(screen.close())
    expect(page.locator("#veil").get_by_role("link", name="Sign in")).to_be_visible()


def test_a_machine_that_is_not_ready_is_waited_for(people: Facility, screen: Screen, visit: Visit) -> None:
    Instance.objects.filter(pk=people.machine.pk).update(state=State.STARTING, desktop_ready_at=None)
    page = visit(people.alice, desktop(people))
    expect(page.locator("#veil")).to_contain_text("not ready yet")
    Instance.objects.filter(pk=people.machine.pk).update(state=State.ACTIVE, desktop_ready_at=timezone.now())
    aside(Instance.objects.get(pk=people.machine.pk).tell, "desktop")
    shows(page)


def test_the_owner_may_switch_to_the_rescue_screen_and_a_member_may_not(
    people: Facility, screen: Screen, visit: Visit
) -> None:
    page = visit(people.alice, desktop(people))
    shows(page)
    page.get_by_role("button", name="Rescue screen").click()
    expect(page.locator("#toast")).to_contain_text("own screen")
    shows(page)
    expect(visit(people.bob, desktop(people)).get_by_role("button", name="Rescue screen")).to_have_count(0)
