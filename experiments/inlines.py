"""Rows within the form of what they belong to."""

from typing import Any

from django.db.models import Field
from django.http import HttpRequest
from unfold.admin import TabularInline


class LabelledInline(TabularInline):
    """A table of rows in which a screen reader hears which field it is in: unfold names the columns alone."""

    def formfield_for_dbfield(self, db_field: "Field[Any, Any]", request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field is not None:
            field.widget.attrs.setdefault("aria-label", str(db_field.verbose_name))
            for part in getattr(field.widget, "widgets", []):
                part.attrs.setdefault("aria-label", str(db_field.verbose_name))
        return field
