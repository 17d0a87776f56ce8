"""Templates to HTML and Markdown. Whatever is put into one is escaped, unless it is `Markup`."""

from __future__ import annotations

import functools
import json
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from advisor.report.words import duration, percent
from advisor.system.text import legible

_NO_TEXT = "\N{REPLACEMENT CHARACTER}"


def html(template: str, **values: Any) -> str:
    """Fill in a template of HTML.

    Args:
        template: name of a file in `templates/`.
        **values: text is escaped, `Markup` is not.
    """
    return _html().get_template(template).render(values)


def markdown(template: str, **values: Any) -> str:
    """Fill in a template of Markdown.

    Args:
        template: name of a file in `templates/`.
        **values: of text, whatever Markdown or HTML would read as markup is escaped.
    """
    return _markdown().get_template(template).render(values)


def safe(text: object) -> Markup:
    """Text for HTML; a question mark stands for what UTF-8 or a browser cannot show."""
    return text if isinstance(text, Markup) else escape(legible(text, _NO_TEXT))


def plain(value: object) -> Markup:
    """Text for Markdown: on one line and without what Markdown or HTML would read as markup.

    >>> print(plain("<b>`code`"))
    &lt;b>'code'
    """
    if isinstance(value, Markup):
        return value
    kept = legible(value).replace("`", "'").replace("<", "&lt;")
    return Markup("".join(f"\\{c}" if c in "|*[]" else c for c in kept))


@functools.cache
def _html() -> Environment:
    return _environment(autoescape=True, finalize=safe)


@functools.cache
def _markdown() -> Environment:
    environment = _environment(autoescape=False, finalize=plain)
    # Inside a code block nothing is markup; YAML reads strings as JSON writes them.
    environment.filters["verbatim"] = lambda value: Markup(legible(value))
    environment.filters["quoted"] = lambda value: Markup(json.dumps(plain(value), ensure_ascii=False))
    return environment


def _environment(**options: Any) -> Environment:
    environment = Environment(
        loader=PackageLoader("advisor.report"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        **options,
    )
    environment.filters["form"] = lambda value, specification: format(value, specification)
    environment.filters["percent"] = percent
    environment.filters["duration"] = duration
    return environment
