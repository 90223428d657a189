"""The keyboard layouts on offer: XKB names as setxkbmap(1) takes them, `layout` or `layout(variant)`."""

from django.utils.translation import gettext_lazy as _

KEYBOARDS = [
    ("us", _("English (US)")),
    ("gb", _("English (UK)")),
    ("fr", _("French")),
    ("be", _("Belgian")),
    ("ca", _("French (Canada)")),
    ("ch(fr)", _("Swiss (French)")),
    ("ch", _("Swiss (German)")),
    ("de", _("German")),
    ("es", _("Spanish")),
    ("it", _("Italian")),
    ("pt", _("Portuguese")),
    ("se", _("Swedish")),
    ("dk", _("Danish")),
    ("no", _("Norwegian")),
    ("fi", _("Finnish")),
    ("nl", _("Dutch")),
    ("pl", _("Polish")),
    ("cz", _("Czech")),
    ("hu", _("Hungarian")),
    ("gr", _("Greek")),
    ("ru", _("Russian")),
    ("ua", _("Ukrainian")),
    ("tr", _("Turkish")),
    ("il", _("Hebrew")),
    ("jp", _("Japanese")),
    ("br", _("Portuguese (Brazil)")),
    ("latam", _("Spanish (Latin America)")),
    ("us(intl)", _("English (US, international)")),
]
