"""`{% load programs %}`: how a program does what a page's button does."""

from collections.abc import Sequence
from typing import Any

from django import forms, template
from django.conf import settings
from django.template.context import RequestContext

from goldpan.api.snippets import FILE, snippet

register = template.Library()


@register.inclusion_tag("_program.html", takes_context=True)
def from_a_program(context: RequestContext, name: str, number: int, form: forms.BaseForm | None = None,
                   file: str | Sequence[str] = FILE, place: str = "", **given: Any) -> dict[str, Any]:
    """`{% from_a_program "quote" snapshot.pk form=knobs %}`: the operation as curl and as Python, folded.

    name: the operation's. form: the page's form, whose values are taken where fields have one name; `given` count
    before them. file: the name of the file that it is sent or written to, or of several. place: where a page shows an
    operation twice, a word that tells the second one.
    """
    values = {field.name: field.value() for field in form} if form is not None else {}
    found = snippet(name, number, {**values, **given}, url=settings.GOLDPAN_URL,
                    files=[file] if isinstance(file, str) else file)
    return {"snippet": found, "project": context["request"].project, "id": f"program-{name}{place}-{number}"}
