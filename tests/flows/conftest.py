"""One installation and one machine of Alice's serve all flow tests; a browser is Debian's Chromium."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.chromium import launch
from tests.flows.installation import MACHINE_PATIENCE, Installation

WINDOW = {"width": 1440, "height": 900}


@pytest.fixture(scope="session")
def visa(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    if "VISA_CELL" not in os.environ:
        pytest.skip("starts machines: run through tests/cell/enter, as `make test` does")
    installation = Installation(tmp_path_factory.mktemp("visa"))
    installation.start()
    try:
        yield installation
    finally:
        installation.stop()


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    """For the time of the flows alone: while it lives, its event loop stands in the way of asyncio's tests."""
    with sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser
        browser.close()


def signed_in(chromium: Browser, visa: Installation, name: str) -> BrowserContext:
    """A browser of its own in which somebody has signed in through the page."""
    context = chromium.new_context(viewport=WINDOW, locale="en-GB")  # type: ignore[arg-type]
    sign_in(context.new_page(), visa, name)
    return context


def sign_in(page: Page, visa: Installation, name: str) -> None:
    page.goto(visa.url)
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill(visa.sign_ins()[name])
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("link", name="New instance").first).to_be_visible()


@dataclass
class Desk:
    """Alice before her machine: the page shows its desktop."""

    uuid: str
    page: Page
    steps: list[str]


@pytest.fixture(scope="package")
def desk(visa: Installation, chromium: Browser) -> Iterator[Desk]:
    context = signed_in(chromium, visa, "alice")
    yield new_desk(visa, context.new_page(), "Small")
    context.close()


def new_desk(visa: Installation, page: Page, size: str) -> Desk:
    """Alice makes a machine in the browser, watches it being made, and its desktop opens by itself."""
    page.goto(visa.url)
    page.get_by_role("link", name="New instance").first.click()
    page.get_by_role("group", name="Size").get_by_role("radio", name=size).check()
    page.get_by_role("group", name="Experiment", exact=True).get_by_role("checkbox").first.check()
    expect(page.get_by_role("group", name="Size").get_by_role("radio", name=size)).to_be_checked()
    page.get_by_role("group", name="Screen").get_by_role("radio", name="1280 × 800").check()
    page.get_by_role("button", name="Create instance").click()
    page.wait_for_url(re.compile(r"/machines/[0-9a-f-]{36}/$"))
    uuid = page.url.rstrip("/").rsplit("/", 1)[1]
    steps = page.locator("main").inner_text().splitlines()
    page.wait_for_url("**/desktop/", timeout=MACHINE_PATIENCE * 1000)
    expect(page.locator("#screen canvas")).to_have_count(1)
    return Desk(uuid, page, steps)
