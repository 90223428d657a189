"""One notebook, several people, on a real JupyterLab: they see each other by name, and who watches changes nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from desktops.webapps.origins import Address
from experiments.models import User
from instances.models import Member, MemberRole
from tests.browser.conftest import Visit, aside
from tests.browser.lab import LONG, everywhere, here_with, write_into
from tests.browser.test_interruptions import written
from tests.desktops.webapps.jupyter import Jupyter, jupyterlab, notebook
from tests.people import Facility, person
from tests.servers import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.lab, pytest.mark.django_db(transaction=True)]

NAME = "shared.ipynb"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jupyter]:
    with jupyterlab(tmp_path_factory.mktemp("jupyter"), shared=True) as running:
        notebook(running.root, NAME, "first = 1", "second = 2")
        yield running


def watcher(people: Facility) -> User:
    gwen = person("gwen")
    Member.objects.create(instance=people.machine, user=gwen, role=MemberRole.GUEST)
    return gwen


def at_the_notebook(visit: Visit, user: User, address: Address) -> Page:
    page = visit(user).context.new_page()
    page.goto(f"{address.origin}/lab/tree/{NAME}")
    page.locator(".jp-Notebook .jp-Cell").nth(1).wait_for(timeout=LONG)
    return page


def test_two_edit_one_notebook_by_name_and_a_third_watches(
    people: Facility, lab: Jupyter, address: Address, visit: Visit
) -> None:
    alice = at_the_notebook(visit, people.alice, address)
    bob = at_the_notebook(visit, people.bob, address)
    gwen = at_the_notebook(visit, aside(watcher, people), address)
    write_into(alice, 0, "\nfrom_alice = 3")
    write_into(bob, 1, "\nfrom_bob = 4")
    everywhere("from_alice = 3", alice, bob, gwen)
    everywhere("from_bob = 4", alice, bob, gwen)
    write_into(gwen, 0, "\nfrom_gwen = 5")
    write_into(alice, 0, "\nafter_gwen = 6")
    everywhere("after_gwen = 6", alice, bob)
    wait_until(lambda: "after_gwen = 6" in written(lab.root, NAME), "the notebook on the disk")
    for page in (alice, bob):
        expect(page.locator(".jp-Notebook")).not_to_contain_text("from_gwen")
    assert "from_gwen" not in written(lab.root, NAME)
    for one, other in ((alice, "Bob Example"), (bob, "Alice Example")):
        here_with(one, other)
