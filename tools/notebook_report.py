"""Pages of the runner: one for each executed notebook, and the index over all of them.

Every page is one HTML file without scripts or links of its own to anything outside it: style and pictures are inside,
formulas are MathML, so it opens offline, in light and dark. Widgets do not outlive a run and are left out of the pages.
"""

import base64
import html
import re
from pathlib import Path

import latex2mathml.converter
import nbformat
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from pygments.formatters import HtmlFormatter

from lakhnes_lib.files import replacing

STYLE = Path(__file__).with_name("report.css")
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
        """A link; one to a notebook leads to its page in the report, and one to another file is its text alone."""
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
        heading = (
            re.search(r"^# +(.+)$", cell.source, re.MULTILINE)
            if cell.cell_type == "markdown"
            else None
        )
        if heading:
            return re.sub(r"[*_`$]", "", heading[1]).strip()
    return ""


def first_error(notebook) -> tuple[int, str] | None:
    """Number of the first cell that failed (as counted in the notebook's file, from 1) and its error in one line."""
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
    """Write the first picture and the first sound of a notebook beside `stem`; their file names, by kind."""
    found = {}
    for output in (output for cell in notebook.cells for output in cell.get("outputs", [])):
        data = output.get("data", {})
        page = data.get("text/html", "")
        picture = data.get("image/png") or _embedded(page, "image/png")
        sound = _embedded(page, "audio/(?:x-)?wav")
        for kind, content, ending in (("picture", picture, ".png"), ("sound", sound, ".wav")):
            if content and kind not in found:
                stem.parent.mkdir(parents=True, exist_ok=True)
                target = stem.with_name(stem.name + ending)
                target.write_bytes(base64.b64decode(content))
                found[kind] = target.name
    return found


def _embedded(page: str, kind: str) -> str | None:
    match = re.search(rf"src=[\"']data:{kind};base64,([A-Za-z0-9+/=\s]+)[\"']", page)
    return match[1] if match else None


def export(executed: str, page: str, preview_stem: str, remark: str) -> dict[str, str]:
    """Write the page of an executed notebook and its previews. Returns title and preview file names."""
    notebook = nbformat.read(executed, as_version=4)
    notebook.metadata.pop("widgets", None)
    found = previews(notebook, Path(preview_stem))
    for cell in notebook.cells:
        if "outputs" in cell:
            cell.outputs = [
                output for output in cell.outputs if WIDGET not in output.get("data", {})
            ]
    exporter = HTMLExporter(
        template_name="basic"
    )  # the bare template asks no other server for anything
    exporter.register_filter("markdown2html", markdown)
    body, _ = exporter.from_notebook_node(notebook)
    up = "../" * (len(Path(page).relative_to(Path(preview_stem).parents[1]).parts) - 1)
    banner = f'<nav><a href="{up}index.html">All notebooks</a> <span class="remark">{html.escape(remark)}</span></nav>'
    _write(
        Path(page),
        title_of(notebook) or Path(executed).stem,
        f'{banner}<main class="notebook">{body}</main>',
    )
    return {"title": title_of(notebook)} | found


def write_index(
    folder: Path, profile: str, records: list[dict], environment: dict[str, str]
) -> Path:
    """Write `folder/index.html`: state, minutes, peak memory, links and previews of every notebook."""
    count = {state: sum(record["state"] == state for record in records) for state in STATES}
    minutes = sum(record.get("minutes", 0) for record in records)
    summary = ", ".join(f"{number} {STATES[state]}" for state, number in count.items() if number)
    remark = f'<p class="remark">{SMOKE_REMARK}</p>' if profile == "smoke" else ""
    rows = "\n".join(
        f"<tr><th scope='row'>{html.escape(k)}</th><td>{html.escape(v)}</td></tr>"
        for k, v in environment.items()
    )
    cards = "\n".join(_card(record) for record in records)
    gallery = ""
    if (folder / "composed/index.html").exists():
        gallery = '<p><a href="composed/index.html">The gallery: every piece that this run has composed</a></p>'
    body = f"""<header><h1>LakhNES: the {html.escape(profile)} run</h1>{remark}
<p>{summary}; {minutes:.1f} minutes in all.</p></header>
<main>{gallery}<ol class="cards">{cards}</ol>
<section><h2>Where it ran</h2><table>{rows}</table>
<p>Minutes are by the clock. Peak memory is that of a notebook's largest process.</p></section></main>"""
    return _write(folder / "index.html", f"LakhNES: {profile} run", body)


def _card(record: dict) -> str:
    name, state = record["name"], record["state"]
    stem = html.escape(name)
    title = html.escape(record.get("title") or name)
    facts = [f'<span class="state {state.replace(" ", "-")}">{STATES[state]}</span>']
    if "minutes" in record:
        facts += [f"{record['minutes']:.1f} min", f"{record['peak_megabytes']:,.0f} MB"]
        facts += [f"profile {html.escape(record['profile'])}", record["finished"]]
    links = [
        f'<a href="{html.escape(target)}">{text}</a>'
        for text, target in record.get("links", {}).items()
    ]
    error = f'<p class="error">{html.escape(record["error"])}</p>' if record.get("error") else ""
    media = ""
    if record.get("picture"):
        picture = f"previews/{html.escape(record['picture'])}"
        media += f'<img src="{picture}" alt="First figure of {title}" loading="lazy">'
    if record.get("sound"):
        media += f'<audio controls preload="metadata" src="previews/{html.escape(record["sound"])}" aria-label="{title}">'
        media += "</audio>"
    kind = "solution" if name.startswith("solutions/") else "lesson"
    return f"""<li class="{kind}" id="{stem}"><div><h2>{title}</h2><p class="name">{stem}</p>
<p class="facts">{" · ".join(facts)}</p>{error}<p>{" · ".join(links)}</p></div><div class="media">{media}</div></li>"""


def _write(path: Path, title: str, body: str) -> Path:
    light = HtmlFormatter(style="default").get_style_defs(".highlight")
    dark = HtmlFormatter(style="github-dark").get_style_defs(".highlight")
    colours = f"{light}\n@media (prefers-color-scheme: dark) {{ {dark} }}"
    document = f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title><style>{colours}
{STYLE.read_text(encoding="utf-8")}</style></head>
<body>
{body}
</body></html>
"""
    with replacing(path) as beside:
        beside.write_text(document, encoding="utf-8")
    return path
