"""A network that is away for 20 s while a cell runs, a sign-in that ends under an open notebook: nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.contrib.sessions.models import Session
from django.test import override_settings
from playwright.sync_api import expect

from desktops.webapps.origins import Address
from tests.browser.conftest import Site, Visit, aside, session
from tests.browser.lab import ALL, AWAY, COUNTS, LONG, open_notebook, opened, run_cell, told_of_the_cut, write_into
from tests.browser.wire import Wire
from tests.desktops.webapps.jupyter import Jupyter, notebook
from tests.people import Facility
from tests.servers import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.lab, pytest.mark.django_db(transaction=True)]


@pytest.fixture(scope="module")
def wire(site: Site) -> Iterator[Wire]:
    made = Wire(site)
    made.mend()
    domain = made.url.removeprefix("http://")
    own = {"PUBLIC_URL": made.url, "CSRF_TRUSTED_ORIGINS": [made.url], "APPS_DOMAIN": domain}
    with override_settings(**own):
        yield made
    made.cut()


def written(folder: Path, name: str) -> str:
    """The notebook as it lies on the disk at this moment, perhaps in the middle of being written."""
    return (folder / name).read_text()


def test_twenty_seconds_without_a_network_lose_nothing(
    people: Facility,
    lab: Jupyter,
    address: Address,
    visit: Visit,
    wire: Wire,
) -> None:
    """The cell runs on, what it printed meanwhile arrives, and what was written meanwhile is saved.

    Jupyter Server would keep it for the only page at a kernel; here a colleague's is there too.
    """
    notebook(lab.root, "counts.ipynb", COUNTS, "kept = 1")
    page, other = visit(people.alice), visit(people.bob)
    open_notebook(page, address.origin, "counts.ipynb")
    other.goto(f"{address.origin}/lab/tree/counts.ipynb")
    other.get_by_text("| Idle").first.wait_for(timeout=LONG)
    output = run_cell(page, 0)
    expect(output).to_contain_text("0 1 2", timeout=LONG)
    wire.cut()
    told_of_the_cut(page)
    write_into(page, 1, "\nmeanwhile = 2")
    page.wait_for_timeout(AWAY)
    assert "done" not in output.inner_text()
    wire.mend()
    expect(output).to_have_text(ALL, timeout=LONG)
    page.keyboard.press("Control+s")
    wait_until(lambda: "meanwhile = 2" in written(lab.root, "counts.ipynb"), "what was written meanwhile")


def test_a_sign_in_that_ends_under_an_open_notebook_loses_nothing(
    people: Facility,
    lab: Jupyter,
    address: Address,
    visit: Visit,
    wire: Wire,
) -> None:
    """It is said, and once the person has signed in and pressed the button, the same page saves and runs on."""
    notebook(lab.root, "open.ipynb", "in_the = 'kernel'; print(in_the)", "kept = 1")
    page = visit(people.alice).context.new_page()  # JupyterLab complains of the refusals in its console
    open_notebook(page, address.origin, "open.ipynb")
    expect(run_cell(page, 0)).to_have_text("kernel", timeout=LONG)
    write_into(page, 1, "\nunsaved = 2")
    aside(Session.objects.all().delete)
    wait_until(lambda: page.evaluate("fetch('/api').then((answer) => answer.status)") == 401, "the end of the visit")
    page.keyboard.press("Control+s")
    expect(page.get_by_role("dialog")).to_contain_text("Your sign-in here has ended", timeout=LONG)
    page.keyboard.press("Escape")
    page.context.add_cookies([session(wire.site, people.alice)])
    other = page.context.new_page()
    other.goto(wire.url)
    opened(other)
    page.keyboard.press("Control+s")
    wait_until(lambda: "unsaved = 2" in written(lab.root, "open.ipynb"), "what was not saved")
    write_into(page, 1, "\nprint('still in the', in_the)")
    expect(run_cell(page, 1)).to_have_text("still in the kernel", timeout=LONG)
