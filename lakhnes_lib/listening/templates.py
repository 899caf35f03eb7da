"""Pages from templates: what Python knows is filled into an HTML or Markdown file by Jinja2.

Paper: none. Notebooks: all, through the player and the listening test. The templates stand beside
the code that fills them; text that goes into an HTML page is escaped, so no name of a song becomes
markup.
"""

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

HERE = Path(__file__).parent


def render(path: Path, **values) -> str:
    """The text of the template at ``path``, with these values filled in.

    A template may extend or include those of its own folder and of this one, and take the text of a
    style or script of these folders by ``{{ asset("player.css") | safe }}``. A name that has no
    value raises jinja2.UndefinedError.

    >>> page = render(HERE / "page.html", title="A & B", body="<p>music</p>")
    >>> "<title>A &amp; B</title>" in page and "<p>music</p>" in page
    True
    """
    return _environment(path.parent).get_template(path.name).render(values)


@cache
def _environment(folder: Path) -> Environment:
    loader = FileSystemLoader([folder, HERE])
    whitespace = dict(trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
    escaped = select_autoescape()  # for the ending .html, not for Markdown
    strict = dict(loader=loader, autoescape=escaped, undefined=StrictUndefined)
    environment = Environment(**strict, **whitespace)
    environment.globals["asset"] = lambda name: loader.get_source(environment, name)[0]
    return environment
