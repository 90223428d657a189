"""Support in the browser: who needs help is found, asks to join, and is let in."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from desktops import news, support
from desktops.models import AccessRequest
from instances.models import Host, Instance
from instances.states import State
from tests.browser.conftest import Site, Visit, aside
from tests.browser.test_pages import serious
from tests.desktops.rooms import granted, looks
from tests.people import Facility, machine

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def shot(page: Page, name: str) -> None:
    """Kept where VISA_SHOTS says, to be looked at."""
    if folder := os.environ.get("VISA_SHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


@pytest.fixture
def busy(people: Facility) -> Facility:
    """Alice is at her screen; Bob calls; others are somewhere between."""
    aside(_fill, people)
    return people


def _fill(people: Facility) -> None:
    Instance.objects.update(observed_at=timezone.now())
    looks(people.alice, people.machine)
    looks(people.bob, people.machine)
    bobs = machine(people.bob, people.plan, people.host, name="Peaks of D20", experiments=[people.experiment])
    Instance.objects.filter(pk=bobs.pk).update(observed_at=timezone.now())
    support.call(bobs, people.bob, "My reduction stops with a message that I do not understand.")
    broken = "The machine did not show its desktop in time. Try again, or watch its console while it starts."
    machine(people.charlie, people.plan, people.host, name="Spin waves", state=State.ERROR, problem=broken)
    stopped = machine(people.charlie, people.plan, people.host, name="Tomography", state=State.STOPPED)
    stopped.experiments.set([people.charlies_experiment])
    open_one = machine(people.charlie, people.plan, people.host, name="Calibration")
    looks(people.charlie, open_one)
    granted(people.sam, open_one)
    Host.objects.update(seen_at=timezone.now())


@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 390)])
def test_the_support_page_is_sound_and_fits(busy: Facility, visit: Visit, theme: str, width: int) -> None:
    page = visit(busy.sam, "/support/", color_scheme=theme, viewport={"width": width, "height": 900})
    expect(page.get_by_role("article").first).to_contain_text("Bob Example calls for help")
    shot(page, f"support-{theme}-{width}")
    assert not serious(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.get_by_role("button", name="Ask to join").last.click()
    shot(page, f"support-ask-{theme}-{width}")
    assert not serious(page)


def test_what_is_searched_stays_and_is_in_the_address(busy: Facility, visit: Visit) -> None:
    page = visit(busy.sam, "/support/")
    page.get_by_role("searchbox").press_sequentially("tomo")
    expect(page.get_by_role("article")).to_have_count(1)
    page.wait_for_url("**/support/?q=tomo*")
    page.reload()
    expect(page.get_by_role("searchbox")).to_have_value("tomo")
    expect(page.get_by_role("article")).to_contain_text("Tomography")


def test_support_asks_and_the_owner_lets_in(busy: Facility, visit: Visit) -> None:
    sam = visit(busy.sam, "/support/")
    row = sam.get_by_role("article").filter(has_text="alice's machine")
    row.get_by_role("button", name="Ask to join").click()
    dialog = sam.get_by_role("dialog")
    dialog.get_by_role("button", name="Ask", exact=True).click()
    expect(dialog.get_by_role("alert")).to_contain_text("Say in a few words why")
    dialog.get_by_label("Why").fill("Your fit looks stuck.")
    dialog.get_by_label("For how long").select_option("15")
    dialog.get_by_role("button", name="Ask", exact=True).click()
    expect(row).to_contain_text("The owner is asked")
    shot(sam, "support-waiting")

    alice = visit(busy.alice, f"/machines/{busy.machine.uuid}/")
    asks = alice.get_by_role("region", name="Support")
    expect(asks).to_contain_text("Sam Example")
    expect(asks).to_contain_text("Your fit looks stuck.")
    shot(alice, "support-answer")
    asks.get_by_role("button", name="Let in to watch").click()
    expect(asks).to_contain_text("may watch")
    expect(row.get_by_role("link", name="Open desktop")).to_be_visible()
    granted_now = AccessRequest.objects.get(instance=busy.machine)
    assert (granted_now.state, granted_now.role, granted_now.minutes) == ("granted", "watch", 15)
    shot(sam, "support-in")
    asks.get_by_role("button", name="End support").click()
    expect(row.get_by_role("button", name="Ask to join")).to_be_visible()
    shot(alice, "support-ended")


def test_the_owner_hears_of_it_on_any_page(busy: Facility, visit: Visit, site: Site) -> None:
    alice = visit(busy.alice)
    expect(alice.locator("#bell .count")).to_have_count(0)
    aside(support.ask, busy.machine, busy.sam, "Why", 30, control=True)
    expect(alice.locator("#bell .count")).to_contain_text("1")
    shot(alice, "bell")
    alice.locator("#bell").click()
    expect(alice.locator("#notices")).to_contain_text("Sam Example of support asks to join")
    shot(alice, "notices")
    aside(support.ask, busy.machine, busy.admin, "Another", 30, control=True)
    expect(alice.locator("#notices")).to_contain_text("Admin Example of support asks to join")
    alice.get_by_role("button", name="Sam Example of support").click()
    alice.wait_for_url(f"**/machines/{busy.machine.uuid}/")


def test_who_writes_is_not_disturbed_by_what_happens_meanwhile(busy: Facility, visit: Visit) -> None:
    alice = visit(busy.alice, f"/machines/{busy.machine.uuid}/")
    alice.evaluate("came = []; document.addEventListener('htmx:afterSettle', ({target}) => came.push(target.id))")
    message, search = alice.get_by_label("What do you need help with?"), alice.get_by_label("Search people")
    alice.locator("#people summary", has_text="Add people").click()
    for field, words in ((message, "Where is"), (search, "charl")):
        field.press_sequentially(words)
        alice.evaluate("came = []")
        aside(news.tell_room, busy.machine)
        alice.wait_for_function("() => came.includes('support') && came.includes('people')")
        expect(field).to_have_value(words)
        expect(field).to_be_focused()


def test_a_call_is_made_taken_and_closed(busy: Facility, visit: Visit) -> None:
    alice = visit(busy.alice, f"/machines/{busy.machine.uuid}/")
    panel = alice.get_by_role("region", name="Support")
    panel.get_by_label("What do you need help with?").fill("Where is my data?")
    panel.get_by_role("button", name="Call for help").click()
    expect(panel).to_contain_text("You called for help")
    shot(alice, "call-made")
    sam = visit(busy.sam, "/support/")
    row = sam.get_by_role("article").filter(has_text="alice's machine")
    expect(row).to_contain_text("Where is my data?")
    row.get_by_role("button", name="Take the call").click()
    expect(row.get_by_role("link", name="Open desktop")).to_be_visible()
    expect(panel).to_contain_text("Sam Example comes to help")
    shot(alice, "call-taken")
    row.get_by_role("button", name="Help is done").click()
    sam.get_by_role("dialog").get_by_role("button", name="It is done").click()
    expect(panel.get_by_role("button", name="Call for help")).to_be_visible()
