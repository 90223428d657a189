"""Finding a person among all who have an account."""

from __future__ import annotations

from django.db.models import Q, QuerySet

from experiments.models import User

FEWEST_LETTERS = 3
"""Less would list half the facility."""

MOST_WORDS = 4


def beginning_with(text: str) -> QuerySet[User]:
    """Active people whose names or user name begin with each word of `text`, in any case; by name.

    A word with an @ is an e-mail address and counts from there on: nobody's address can be guessed letter by letter.
    Nobody is found by less than FEWEST_LETTERS letters.
    """
    words = text.split()[:MOST_WORDS]
    if len("".join(words)) < FEWEST_LETTERS:
        return User.objects.none()
    # Each word is one OR of beginnings, so that an index serves it; "de la Cour" is a beginning too
    whole = Q(last_name__istartswith=" ".join(words))
    people = User.objects.filter(*(_begins(word) | whole for word in words), is_active=True)
    return people.select_related("affiliation").order_by("last_name", "first_name", "pk")


def _begins(word: str) -> Q:
    if "@" in word[1:]:
        return Q(email__istartswith=word)
    return Q(first_name__istartswith=word) | Q(last_name__istartswith=word) | Q(username__istartswith=word)
