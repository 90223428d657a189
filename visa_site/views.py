"""Home, profile, language, and the pages for what went wrong."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST
from django.views.i18n import set_language

from experiments.models import User
from instances import actions, letters
from instances.models import Instance
from instances.views import cards_of, person
from visa_site.forms import TokenForm
from visa_site.tokens import TooManyTokens, issue, valid_tokens

LANGUAGES = dict(settings.LANGUAGES)


@login_required
@require_GET
@never_cache
def home(request: HttpRequest) -> HttpResponse:
    """Where is my work: a card for every machine, the person's own and those shared with them."""
    cards = cards_of(person(request))
    mine, shared = [card for card in cards if card.mine], [card for card in cards if not card.mine]
    return render(request, "home.html", {"mine": mine, "shared": shared})


@login_required
@require_GET
@never_cache
def profile(request: HttpRequest) -> HttpResponse:
    return render(request, "profile.html", _profile(person(request), TokenForm()))


def _profile(user: User, form: TokenForm) -> dict[str, Any]:
    return {
        "form": form,
        "grants": user.role_grants.order_by("role"),
        "owned": Instance.objects.live().filter(owner=user).count(),
        "quota": actions.quota_of(user),
        "tokens": valid_tokens(user),
        "mail_groups": letters.choices(user),
    }


@login_required
@require_POST
def mail(request: HttpRequest) -> HttpResponse:
    """Which groups of mail the person gets from now on: those that are ticked."""
    letters.choose(person(request), request.POST.getlist("group"))
    messages.success(request, _("Saved."))
    return redirect("profile")


@login_required
@require_POST
@never_cache
def new_token(request: HttpRequest) -> HttpResponse:
    """Makes a token and shows its text, this once."""
    user, form = person(request), TokenForm(request.POST)
    text = ""
    if form.is_valid():
        try:
            text = issue(user, **form.cleaned_data)[1]
            form = TokenForm()
        except TooManyTokens as refusal:
            form.add_error(None, str(refusal))
    context = _profile(user, form) | {"new_token": text}
    return render(request, "profile.html", context, status=200 if text else 422)


@login_required
@require_POST
def revoke_token(request: HttpRequest, uuid: UUID) -> HttpResponse:
    get_object_or_404(valid_tokens(person(request)), uuid=uuid).delete()
    messages.success(request, _("The token is revoked. Programs that use it are refused from now on."))
    return redirect("profile")


@require_POST
def language(request: HttpRequest) -> HttpResponse:
    """Changes the language of this browser and, for who is signed in, of the account."""
    chosen = request.POST.get("language", "")
    if request.user.is_authenticated and chosen in LANGUAGES:
        User.objects.filter(pk=request.user.pk).update(language=chosen)
    return set_language(request)
