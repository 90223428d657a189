"""What belongs to the site as a whole: the tokens with which people's programs use the API."""

from uuid import uuid4

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from knox.settings import CONSTANTS

from experiments.models import User


class PersonalToken(models.Model):
    """A person's key to the API. Only its SHA-512 is kept; the text is shown once, by `tokens.issue`.

    The columns are those that knox looks for (knox.models.AbstractAuthToken), and two of ours: `uuid` and `name`.
    """

    digest = models.CharField(max_length=CONSTANTS.DIGEST_LENGTH, primary_key=True, editable=False)
    token_key = models.CharField(
        max_length=CONSTANTS.MAXIMUM_TOKEN_PREFIX_LENGTH + CONSTANTS.TOKEN_KEY_LENGTH, db_index=True, editable=False
    )
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="auth_token_set", verbose_name=_("person"))
    created = models.DateTimeField(_("made"), auto_now_add=True)
    expiry = models.DateTimeField(_("ends"), null=True, blank=True)
    uuid = models.UUIDField(default=uuid4, unique=True, editable=False)
    name = models.CharField(_("name"), max_length=60, blank=True)

    class Meta:
        verbose_name = _("API token")
        verbose_name_plural = _("API tokens")
        ordering = ["-created"]

    def __str__(self) -> str:
        return self.name or str(self.uuid)

    @property
    def expired(self) -> bool:
        return bool(self.expiry and self.expiry <= timezone.now())
