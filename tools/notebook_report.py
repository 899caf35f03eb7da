"""Pages of the runner: one for each executed notebook, and the index over all of them.

Every page is one HTML file without scripts or links of its own to anything outside it: style and
pictures are inside, formulas are MathML, so it opens offline, in light and dark. Widgets do not
outlive a run and are left out of the pages.
"""

import base64
import html
import re
from collections import Counter
from pathlib import Path

import latex2mathml.converter
import nbformat
from album import WAYS
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from pygments.formatters import HtmlFormatter

from lakhnes_lib.files import write_file
from lakhnes_lib.listening.templates import render

TEMPLATES = Path(__file__).parent / "templates"
WIDGET = "application/vnd.jupyter.widget-view+json"
SMOKE_REMARK = "smoke: shows that it runs, not a measurement"
STATES = {
    "passed": "passed",
    "failed": "failed",
    "timed out": "timed out",
    "stopped": "stopped",
    "running": "running",
    "waiting": "not run yet",
}
EMPTY_RECORD = dict.fromkeys(("title", "finished", "error", "picture", "sound"), "")
EMPTY_RECORD |= {"links": {}, "core_minutes": 0}
"""What the index takes for what a record of the runner lacks."""


class _Renderer(IPythonRenderer):
    """Markdown with formulas as MathML and with links to notebooks leading to their pages."""

    def block_math(self, body):
        """A displayed formula."""
        return f'<div class="formula">{mathml(body, "block")}</div>'

    def inline_math(self, body):
        """A formula within a line."""
        return mathml(body, "inline")

    def latex_environment(self, name, body):
        """A LaTeX environment such as align."""
        return self.block_math(f"\\begin{{{name}}}{body}\\end{{{name}}}")

    def link(self, text, url, title=None):
        """A link; one to a notebook leads to its page in the report, and one to another file is its
        text alone."""
        if re.match(r"[a-z]+:|#", url):
            return super().link(text, url, title)
        page = re.sub(r"\.ipynb(?=$|#)", ".html", url)
        return text if page == url else super().link(text, page, title)


def markdown(source: str) -> str:
    """Markdown of one cell as HTML."""
    return MarkdownWithMath(renderer=_Renderer(escape=False)).render(source)


def mathml(tex: str, display: str) -> str:
    """A formula as MathML; one that the converter does not know stays as its TeX."""
    tex = re.sub(r"(\\(?:begin|end))\{aligned\}", r"\1{split}", tex.strip())
    try:
        return latex2mathml.converter.convert(tex, display=display)
    except Exception:  # the converter raises many kinds, and a formula must never cost the page
        return f"<code>{html.escape(tex)}</code>"


def title_of(notebook) -> str:
    """The first heading of a notebook, plain."""
    for cell in notebook.cells:
        heading = re.search(r"^# +(.+)$", cell.source, re.MULTILINE)
        if heading and cell.cell_type == "markdown":
            return re.sub(r"[*_`$]", "", heading[1]).strip()
    return ""


def first_error(notebook) -> tuple[int, str] | None:
    """Number of the first cell that failed (as counted in the notebook's file, from 1) and its
    error in one line."""
    number = 0
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        number += not any(
            tag.startswith("papermill-error") or tag == "injected-parameters" for tag in tags
        )
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                lines = output.evalue.strip().splitlines() or [""]
                return number, f"{output.ename}: {lines[0]}".rstrip(": ")
    return None


def previews(notebook, stem: Path) -> dict[str, str]:
    """Write the first picture and the first sound of a notebook beside `stem`; their file names, by
    kind."""
    names = {}
    for output in (output for cell in notebook.cells for output in cell.get("outputs", [])):
        data = output.get("data", {})
        page = data.get("text/html", "")
        picture = data.get("image/png") or _embedded(page, "image/png")
        sound = _embedded(page, "audio/(?:x-)?wav")
        for kind, content, ending in (("picture", picture, ".png"), ("sound", sound, ".wav")):
            if content and kind not in names:
                names[kind] = stem.name + ending
                write_file(stem.with_name(names[kind]), base64.b64decode(content))
    return names


def _embedded(page: str, kind: str) -> str | None:
    match = re.search(rf"src=[\"']data:{kind};base64,([A-Za-z0-9+/=\s]+)[\"']", page)
    return match[1] if match else None


def write_page(executed: Path, page: Path, preview_stem: Path, remark: str) -> dict[str, str]:
    """Write the page of an executed notebook and its previews. Returns title and preview file
    names."""
    notebook = nbformat.read(executed, as_version=4)
    notebook.metadata.pop("widgets", None)
    names = previews(notebook, preview_stem)
    for cell in notebook.cells:
        if "outputs" in cell:
            cell.outputs = [
                output for output in cell.outputs if WIDGET not in output.get("data", {})
            ]
    exporter = HTMLExporter(template_name="basic")  # the template that asks no server for anything
    exporter.register_filter("markdown2html", markdown)
    body, _ = exporter.from_notebook_node(notebook)
    title, folder = title_of(notebook), preview_stem.parents[1]
    depth = len(page.relative_to(folder).parts) - 1
    text = render(
        TEMPLATES / "report_notebook.html",
        title=title or executed.stem,
        code_colours=_code_colours(),
        index="../" * depth + "index.html",
        remark=remark,
        notebook=body,
    )
    write_file(page, text)
    return {"title": title} | names


def write_index(
    folder: Path, profile: str, records: list[dict], environment: dict[str, str]
) -> Path:
    """Write `folder/index.html`: state, minutes, memory, links and previews of every notebook."""
    counts = Counter(record["state"] for record in records)
    summary = (f"{counts[state]} {text}" for state, text in STATES.items() if counts[state])
    galleries = {f"gallery/{way}/index.html": title for way, title in WAYS.items()}
    galleries = {"composed/index.html": "Every piece that this run has composed"} | galleries
    text = render(
        TEMPLATES / "report_index.html",
        title=f"LakhNES: {profile} run",
        code_colours="",
        profile=profile,
        remark=SMOKE_REMARK if profile == "smoke" else "",
        summary=", ".join(summary),
        core_minutes=sum(record.get("core_minutes", 0) for record in records),
        galleries={page: title for page, title in galleries.items() if (folder / page).exists()},
        records=[EMPTY_RECORD | record for record in records],
        states=STATES,
        environment=environment,
    )
    write_file(folder / "index.html", text)
    return folder / "index.html"


def _code_colours() -> str:
    light = HtmlFormatter(style="default").get_style_defs(".highlight")
    dark = HtmlFormatter(style="github-dark").get_style_defs(".highlight")
    return f"{light}\n@media (prefers-color-scheme: dark) {{ {dark} }}"
