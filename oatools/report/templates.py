"""The templates of the report (`assets/`), and how numbers are written in them."""

import math
from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from oatools.core.manifest import MISSING
from oatools.learning.results import Metric


def render_html(template: str, **values: Any) -> str:
    """Return a page of HTML in which every value is escaped."""
    return _environment(autoescape=True).get_template(template).render(values)


def render_markdown(template: str, **values: Any) -> str:
    """Return Markdown in which every value is escaped for a cell of a table, unless `safe`."""
    return _environment(finalize=_markdown).get_template(template).render(values)


def number_text(value: float) -> str:
    """Return a count as it is, any other number with three decimals, and `n/a` for NaN."""
    if isinstance(value, int):
        return str(value)
    return MISSING if math.isnan(value) else f"{value:.3f}"


def interval_text(metric: Metric) -> str:
    """Return a metric as `0.712 [0.600, 0.800]`, or alone where it has no interval."""
    value = number_text(metric.value)
    if math.isnan(metric.low):
        return value
    return f"{value} [{number_text(metric.low)}, {number_text(metric.high)}]"


def value_text(value: Any) -> str:
    """Return a value of a record for people, such as `yes`, or the parts of a mapping."""
    if isinstance(value, Mapping):
        parts = [f"{name} {value_text(part)}" for name, part in value.items()]
        return ", ".join(parts)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return MISSING
    if isinstance(value, list | tuple) and all(isinstance(each, str) for each in value):
        return ", ".join(value) or "none"
    return str(value)


def _environment(**options: Any) -> Environment:
    return Environment(
        loader=PackageLoader("oatools.report", "assets"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        **options,
    )


def _markdown(value: Any) -> str:
    """Return a value as it may stand in a cell of a table; `safe` text stays as it is.

    Nothing in it makes a cell, a link, code or HTML.
    """
    if isinstance(value, Markup):
        return str(value)
    line = _without_html(value)
    for sign in ("\\", "|", "`"):
        line = line.replace(sign, f"\\{sign}")
    return line.replace("](", "]\\(")


def _without_html(value: Any) -> str:
    """Return a value as one line in which no browser finds an element."""
    line = " ".join(str(value).split())
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def code_line(text: str) -> Markup:
    """Return a text as a line of code in Markdown, which is shown as it is but for HTML."""
    return Markup(_without_html(text))
