"""Sentences that workers and drivers write into rows: marked for translators, told in the reader's language."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.test import Client
from django.utils import translation

from instances.drivers.base import DriverError
from instances.models import Instance
from instances.sentences import told
from instances.states import State
from tests.people import facility
from tests.visa_site.test_translations import entries

WRITERS = [
    "tasks.py",
    "observer.py",
    "outages.py",
    "carriage.py",
    "moving.py",
    *(f"drivers/{path.name}" for path in Path(settings.BASE_DIR, "instances/drivers").glob("*.py")),
]
SENTENCE = re.compile(r"[A-Za-z][^<{]* .*\.$", re.DOTALL)


def spoken(source: str) -> Iterator[tuple[str, bool]]:
    """Every sentence in the code, docstrings apart, and whether it is marked with `_()`."""
    tree = ast.parse(source)
    marked = {
        id(argument)
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "_"
        for argument in call.args
    }
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if id(node) in docs:
            continue
        text = ast.unparse(node)[2:-1] if isinstance(node, ast.JoinedStr) else getattr(node, "value", None)
        if isinstance(text, str) and SENTENCE.match(text):
            yield text, id(node) in marked


@pytest.mark.parametrize("name", WRITERS)
def test_every_sentence_is_marked_and_in_french(name: str) -> None:
    known = entries()
    found = list(spoken((settings.BASE_DIR / "instances" / name).read_text()))
    assert [text for text, marked in found if not marked] == []
    assert [text for text, _marked in found if not known.get(text)] == []


def test_the_rule_sees_plain_and_formatted_sentences() -> None:
    source = 'raise DriverError("The disk is full.")\nraise DriverError(f"The disk {name} is full.")\n_("It is well.")'
    assert [marked for _text, marked in spoken(source)] == [False, False, True]


def test_a_row_is_told_line_by_line_and_a_detail_stays_as_it_is() -> None:
    kept = str(DriverError("The machine could not be started.", "The host's disk is full.")) + "\n(base.qcow2)"
    with translation.override("fr"):
        assert told(kept) == "La machine n’a pas pu être démarrée. Le disque de l’hôte est plein. (base.qcow2)"
    assert told("") == ""


@pytest.mark.django_db
def test_a_french_reader_reads_a_drivers_sentence_in_french(client: Client) -> None:
    people = facility()
    Instance.objects.filter(pk=people.machine.pk).update(state=State.ERROR, problem="The machine could not be started.")
    client.force_login(people.alice)
    client.cookies[settings.LANGUAGE_COOKIE_NAME] = "fr"
    page = client.get(f"/machines/{people.machine.uuid}/").content.decode()
    assert "La machine n’a pas pu être démarrée." in page
