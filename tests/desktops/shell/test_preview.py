"""What of hostile files is shown: text and pictures, never markup."""

import base64
import json

import pytest

from desktops.shell import preview
from desktops.shell.preview import notebook_of, picture_type, text_of

PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 16


def notebook(*outputs: object) -> bytes:
    return json.dumps({"cells": [{"cell_type": "code", "source": ["a", "b"], "outputs": list(outputs)}]}).encode()


def test_a_picture_is_known_by_its_bytes_and_not_by_its_name() -> None:
    assert picture_type(PNG) == "image/png"
    assert picture_type(b"<svg onload=alert(1)>") is None
    assert picture_type(b"<html><script>") is None


def test_text_is_told_from_bytes() -> None:
    assert text_of("Élan".encode()) == "Élan"
    assert text_of("Élan é".encode()[:-1]) == "Élan "
    assert text_of(b"a\0b") is None
    assert text_of(bytes(range(1, 256))) is None


def test_a_notebooks_markup_is_left_out_and_its_text_stays() -> None:
    cells = notebook_of(
        notebook(
            {"output_type": "display_data", "data": {"text/html": "<script>x</script>", "text/plain": ["plain"]}},
            {"output_type": "stream", "text": ["\x1b[31mred\x1b[0m"]},
            {"output_type": "display_data", "data": {"image/svg+xml": "<svg onload=alert(1)>"}},
        )
    )
    assert cells is not None
    (cell,) = cells
    assert cell.source == "ab"
    assert [output.text for output in cell.outputs] == ["plain", "red", ""]
    assert [output.hidden for output in cell.outputs] == [True, False, True]


def test_only_bytes_of_a_picture_become_a_picture() -> None:
    good = base64.b64encode(PNG).decode()
    for said, shown in ((good, True), ('"><script>', False), (base64.b64encode(b"<svg>").decode(), False), (7, False)):
        cells = notebook_of(notebook({"data": {"image/png": said}}))
        assert cells is not None
        assert bool(cells[0].outputs[0].picture) == shown


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"cells": 1}', b"[" * 100_000, b'{"cells": [1, null, {}]}'])
def test_what_is_no_notebook_harms_nobody(data: bytes) -> None:
    cells = notebook_of(data)
    assert cells is None or all(not cell.outputs for cell in cells)


def test_of_a_notebook_with_outputs_without_end_as_much_is_shown_as_can_be_read() -> None:
    many = {"cell_type": "code", "source": "x", "outputs": [{"data": {}}] * (preview.MOST_OUTPUTS + 100)}
    long = {"cell_type": "markdown", "source": "x" * (preview.MOST_TEXT + 1)}
    for cell in (many, long):
        cells = [{"cell_type": "raw", "source": "first"}, cell, cell]
        shown = notebook_of(json.dumps({"cells": cells}).encode())
        assert shown is not None
        assert [len(one.outputs) for one in shown] == [0, 1]
        assert shown[-1].outputs[0].hidden
        assert len(shown[-1].source) <= preview.HEAD
    assert notebook_of(json.dumps({"cells": [{"outputs": [{}] * preview.MOST_VALUES}]}).encode()) is None


def test_of_a_structure_without_end_the_beginning_is_shown() -> None:
    shown = preview.structure_of(b'{"kind":"group"}\n' * (preview.MOST_LINES + 1))
    assert (len(shown), shown[-1]["kind"]) == (preview.MOST_LINES + 1, "more")
    for odd in (b'{"a":' * 10_000 + b"}", b"{" + b" " * preview.LONGEST_LINE + b"}", b"{}"):
        assert preview.structure_of(odd) == [{"kind": "unreadable"}]
