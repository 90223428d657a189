"""Chat on the machine's page and far back, and how support looks to those at the desktop."""

from __future__ import annotations

import re
from uuid import uuid4

import pytest
from playwright.sync_api import Route, expect

from desktops import chat, news
from desktops.models import ChatMessage
from experiments.models import User
from instances.models import Instance
from tests.browser.conftest import Visit, aside, hearing
from tests.browser.screens import Screen
from tests.browser.test_desktop import desktop, shows
from tests.browser.test_together import opened
from tests.desktops.rooms import granted
from tests.people import Facility

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def page_of(people: Facility) -> str:
    return f"/machines/{people.machine.uuid}/"


def test_what_is_unread_waits_as_a_number_on_the_machines_page(people: Facility, visit: Visit) -> None:
    bob = visit(people.bob, page_of(people))
    expect(bob.locator("#chat-here .talk")).to_be_visible()
    bob.evaluate("Object.defineProperty(document, 'hidden', { get: () => true })")
    bob.evaluate("Object.defineProperty(document, 'visibilityState', { get: () => 'hidden' })")
    aside(chat.send, people.alice, people.machine, uuid4(), "Are you there?")
    expect(bob.locator("#chat-unread")).to_have_text("1")


def test_what_was_written_long_ago_is_fetched_when_asked_for(people: Facility, visit: Visit) -> None:
    aside(write_much, people.machine, people.alice)
    bob = visit(people.bob)

    def ring_and_go_on(route: Route) -> None:
        bob.evaluate("rung = []")
        aside(news.tell_people, {people.bob.pk}, {"type": "chat", "id": str(people.machine.uuid)})
        bob.wait_for_function("() => rung.includes('chat')")
        route.continue_()

    bob.add_init_script("rung = []; document.addEventListener('visa:heard', ({detail}) => rung.push(detail.type))")
    bob.route(re.compile(r"/chat/\?before="), ring_and_go_on, times=1)
    bob.goto(bob.url.rstrip("/") + page_of(people))
    here = bob.locator("#chat-here")
    expect(here.locator(".bubble").last).to_have_text("Number 249")
    hearing(bob).wait_for_load_state("networkidle")
    expect(here.locator(".bubble")).to_have_count(chat.ON_A_PAGE)
    older = here.get_by_role("button", name="Show older messages")
    older.dispatch_event("click")
    expect(here.locator(".bubble")).to_have_count(250)
    expect(here.locator(".bubble").first).to_have_text("Number 0")
    expect(older).to_be_hidden()


def write_much(machine: Instance, author: User) -> None:
    ChatMessage.objects.bulk_create(
        ChatMessage(instance=machine, author=author, key=uuid4(), text=f"Number {n}") for n in range(250)
    )


def test_a_supporter_sees_until_when_and_ends_it(people: Facility, screen: Screen, visit: Visit) -> None:
    alice = visit(people.alice, desktop(people))
    shows(alice)
    aside(granted, people.sam, people.machine)
    sam = visit(people.sam, desktop(people))
    shows(sam)
    expect(sam.locator("#banner")).to_contain_text("You are helping here until")
    expect(opened(alice, "people").locator(".here > li")).to_have_count(2)
    sam.locator("#banner").get_by_role("button", name="End", exact=True).click()
    expect(sam.locator("#veil")).to_be_visible()
    expect(alice.locator(".here > li")).to_have_count(1)


def test_two_people_talk_on_the_machines_page(people: Facility, visit: Visit) -> None:
    pages = [visit(person, f"/machines/{people.machine.uuid}/") for person in (people.alice, people.bob)]
    for page, text in zip(pages, ("Hello Bob.", "Hello Alice."), strict=True):
        box = page.get_by_label("Write to everyone here")
        box.fill(text)
        box.press("Enter")
    for page in pages:
        for text in ("Hello Bob.", "Hello Alice."):
            expect(page.locator(".bubble").filter(has_text=text)).to_have_count(1)
