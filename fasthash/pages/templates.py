"""Render the templates of the folder ``templates`` with Jinja2.

Every value is escaped, in every template. Only what is `Markup`, such as a chart, is inserted as it
is. A name that a template uses and that is not given is an error.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

__all__ = ["render", "script", "source"]


def render(template: str, /, **values: Any) -> str:
    """
    Render a template.

    Parameters
    ----------
    template : str
        Name of a file in the folder ``templates``.
    **values
        What the template shows.

    Returns
    -------
    str
        The text, with values escaped for HTML.

    Examples
    --------
    >>> "&lt;b&gt;" in render("duplicates.html", found="<b>", groups=[], settings={}, n_left_out=0)
    True
    """
    return _environment().get_template(template).render(values)


def source(name: str) -> str:
    """Return a file of the folder ``templates`` as it is, such as a script."""
    loader = _environment().loader
    assert loader is not None
    return loader.get_source(_environment(), name)[0]


def script(name: str) -> Markup:
    """Return a script of the folder ``templates`` for a page that contains it."""
    from markupsafe import Markup

    return Markup(source(name))


@functools.cache
def _environment() -> Environment:
    # Jinja2 is imported on first use, because most commands write no page.
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("fasthash.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
