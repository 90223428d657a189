"""Sentences that rows keep: written once in English, told in the language of whoever reads them."""

from django.utils.translation import gettext


def told(kept: str) -> str:
    """What a row keeps of a problem or a reason, for the reader: a sentence a line; what is none stays as it is."""
    return " ".join(gettext(line) for line in kept.splitlines() if line)
