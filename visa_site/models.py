"""What belongs to the site as a whole: the tokens with which people's programs use the API."""

from uuid import uuid4

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from knox.models import AbstractAuthToken, AuthTokenManager


class PersonalToken(AbstractAuthToken):
    """A person's key to the API. Only its SHA-512 is kept; the text is shown once, by `tokens.issue`."""

    uuid = models.UUIDField(default=uuid4, unique=True, editable=False)
    name = models.CharField(_("name"), max_length=60, blank=True)

    objects = AuthTokenManager()

    class Meta:
        verbose_name = _("API token")
        verbose_name_plural = _("API tokens")
        ordering = ["-created"]

    def __str__(self) -> str:
        return self.name or str(self.uuid)

    @property
    def expired(self) -> bool:
        return self.expiry is not None and self.expiry <= timezone.now()
