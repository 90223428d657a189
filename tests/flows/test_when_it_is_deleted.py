"""The end of the machine that the other flows shared: the last module of this folder."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser

from tests.flows.conftest import Desk, signed_in
from tests.flows.installation import Installation, Person, virsh, volumes
from tests.servers import wait_until

pytestmark = [pytest.mark.qemu, pytest.mark.browser]


def test_a_deleted_machine_waits_in_the_bin_and_then_leaves_nothing_on_the_host(
    desk: Desk, visa: Installation, chromium: Browser
) -> None:
    context = signed_in(chromium, visa, "alice")
    page = context.new_page()
    page.goto(f"{visa.url}/machines/{desk.uuid}/")
    page.get_by_role("button", name="Delete").first.click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    alice = Person(visa, "alice")
    wait_until(lambda: alice.get(f"instances/{desk.uuid}/")["state"] == "binned", "the recycle bin", 120)
    assert f"visa-{desk.uuid}" not in virsh("list", "--name", "--state-running")
    assert desk.uuid in " ".join(volumes())
    assert alice.post(f"instances/{desk.uuid}/delete-for-good/").status_code == 202
    wait_until(lambda: f"visa-{desk.uuid}" not in virsh("list", "--all", "--name"), "the domain to be gone", 60)
    wait_until(lambda: desk.uuid not in " ".join(volumes()), "the disk to be gone", 60)
    context.close()
