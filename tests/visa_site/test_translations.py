"""The French of the pages: complete where people read it, and safe to format."""

import re
import subprocess
from pathlib import Path

from django.conf import settings

FRENCH = settings.BASE_DIR / "locale" / "fr" / "LC_MESSAGES" / "django.po"
TAG = re.compile(r"""\{%\s*trans(?:late)?\s+(?:"([^"]+)"|'([^']+)')""")


def entries() -> dict[str, str]:
    """What is translated, by its English; of plurals the first form."""
    found = {}
    for block in FRENCH.read_text().split("\n\n")[1:]:
        english, french = (_text(block, key) for key in ("msgid", r"msgstr(?:\[0\])?"))
        found[english] = french
    return found


def _text(block: str, key: str) -> str:
    match = re.search(rf'^{key} ((?:".*"\n?)+)', block, re.MULTILINE)
    return "".join(re.findall(r'"(.*)"', match[1])).replace('\\"', '"') if match else ""


def test_every_translation_takes_the_values_of_its_original(tmp_path: Path) -> None:
    command = ["msgfmt", "--check-format", "-o", str(tmp_path / "django.mo"), str(FRENCH)]
    assert subprocess.run(command, capture_output=True, text=True, check=False).returncode == 0


def test_no_translation_is_a_guess() -> None:
    assert "fuzzy" not in FRENCH.read_text()


def test_every_sentence_of_the_templates_is_in_french() -> None:
    known = entries()
    missing = [
        f"{page.name}: {sentence}"
        for page in (settings.BASE_DIR / "templates").rglob("*.html")
        for one, other in TAG.findall(page.read_text())
        if not known.get((sentence := one or other).replace("%", "%%"))  # as Django looks it up
    ]
    assert not missing
