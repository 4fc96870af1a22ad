"""Parts of a web page that is one file: text that is escaped, tables, pictures, and their look.

Nothing is loaded from anywhere and no script runs; the page says so to the browser as well.
"""

import base64
import html
from collections.abc import Callable, Sequence

from experiments.cli.errors import printable as shown

_TYPES = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif"}

_STYLE = """
:root { --line: #d5d9de; --soft: #f4f6f8; --dim: #57606a; --blue: #0b5cad; }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0 auto; max-width: 1240px; padding: 0 20px 48px; background: #fff; color: #1b1f24;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
  overflow-wrap: break-word; }
h1 { font-size: 1.75rem; line-height: 1.25; margin: 28px 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 1.3rem; line-height: 1.3; margin: 44px 0 10px; padding-top: 12px;
  border-top: 1px solid var(--line); overflow-wrap: anywhere; }
h3 { font-size: 1.05rem; margin: 26px 0 8px; overflow-wrap: anywhere; }
p { margin: 8px 0; max-width: 75ch; }
nav { display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 12px 0 0; }
a { color: var(--blue); }
.note { color: var(--dim); font-size: .9rem; }
.missing { background: var(--soft); border-left: 4px solid #b35900; padding: 8px 12px;
  max-width: none; overflow-wrap: anywhere; }
/* Shadows at the edges behind which there is more; the white ones go with the content. */
.scroll { overflow-x: auto; max-width: 100%; margin: 8px 0;
  background: linear-gradient(to right, #fff 30%, #fff0) left / 40px 100% no-repeat local,
    linear-gradient(to left, #fff 30%, #fff0) right / 40px 100% no-repeat local,
    linear-gradient(to right, #0004, #0000) left / 12px 100% no-repeat scroll,
    linear-gradient(to left, #0004, #0000) right / 12px 100% no-repeat scroll; }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; }
th, td { padding: 5px 12px 5px 0; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line); }
thead th { color: var(--dim); font-weight: 600; white-space: nowrap; }
tbody th { font-weight: 500; }
.numbers td, .numbers th { white-space: nowrap; padding-right: 18px; }
.numbers td, .numbers thead th + th { text-align: right; }
.settings td { overflow-wrap: anywhere; min-width: 6em; }
.matrix th, .matrix td { padding: 3px 4px; text-align: center; border: 1px solid #fff;
  min-width: 30px; }
.matrix tbody th, .matrix .from { text-align: right; white-space: nowrap; }
.matrix th { max-width: 12em; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(135px, 1fr)); gap: 10px;
  margin: 16px 0; padding: 0; }
.tiles div { background: var(--soft); border-radius: 6px; padding: 9px 12px; }
.tiles dt { color: var(--dim); font-size: .8rem; }
.tiles dd { margin: 0; font-size: 1.15rem; font-weight: 600; overflow-wrap: anywhere;
  font-variant-numeric: tabular-nums; }
.charts { display: grid; gap: 18px 28px;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 350px), 1fr)); }
figure { margin: 0; min-width: 0; }
figcaption { font-size: .875rem; overflow-wrap: anywhere; }
.charts figcaption { font-weight: 600; }
svg { display: block; width: 100%; height: auto; }
img { display: block; max-width: 100%; height: auto; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; list-style: none; margin: 8px 0;
  padding: 0; font-size: .875rem; }
.legend li { display: flex; align-items: center; gap: 6px; min-width: 0; overflow-wrap: anywhere; }
.legend svg { width: 30px; flex: none; }
.examples { display: grid; gap: 20px;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 160px), 1fr)); }
.examples.wide { grid-template-columns: repeat(auto-fill, minmax(min(100%, 330px), 1fr)); }
.examples figure { break-inside: avoid; }
.examples img { margin-bottom: 6px; }
.examples ol { list-style: none; margin: 2px 0 0; padding: 0; }
.examples li { display: flex; justify-content: space-between; gap: 8px; padding: 0 4px;
  font-variant-numeric: tabular-nums; }
.examples li span:first-child { min-width: 0; overflow-wrap: anywhere; }
.own { background: #d9f0df; font-weight: 600; }
.maps { display: grid; gap: 20px 28px; margin-bottom: 28px;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 520px), 1fr)); align-items: start; }
.maps .scroll { margin: 0; }
details { border-bottom: 1px solid var(--line); padding: 7px 0; }
summary { cursor: pointer; font-weight: 600; overflow-wrap: anywhere; }
pre { background: var(--soft); border-radius: 6px; padding: 10px 12px; margin: 8px 0;
  font: .85rem/1.45 ui-monospace, "DejaVu Sans Mono", monospace; white-space: pre-wrap;
  overflow-wrap: anywhere; }
@media (max-width: 600px) {
  body { padding: 0 12px 32px; }
  h1 { font-size: 1.4rem; }
  .tiles { grid-template-columns: repeat(2, 1fr); }
  .examples { grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 18px 14px; }
  .examples.wide { grid-template-columns: minmax(0, 1fr); }
  .numbers tbody th { white-space: normal; overflow-wrap: anywhere; min-width: 5em;
    max-width: 12em; }
  .matrix th, .matrix td { min-width: 26px; padding: 3px 2px; }
  .matrix .from { font-size: .7rem; }
  .maps img { max-width: none; width: 640px; }  /* or what is written in them is too small */
}
@media print {
  body { max-width: none; font-size: 11pt; }
  nav { display: none; }
  .scroll { overflow: visible; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  details::details-content { content-visibility: visible; height: auto; display: block; }
}
"""


class Html(str):
    """Markup. Any other text is escaped where it becomes part of a page."""


def escaped(text: object) -> Html:
    """Text on one line, as a page shows it; markup stays what it is."""
    return text if isinstance(text, Html) else Html(html.escape(shown(str(text))))


def joined(parts: Sequence[str | None]) -> Html:
    """Parts one after another; None is left out."""
    return Html("".join(escaped(part) for part in parts if part is not None))


def tag(name: str, /, *children: object, **attributes: object) -> Html:
    """An element.

    Args:
      name: of the element.
      *children: text, which is escaped, or markup; None is left out.
      **attributes: by name, '_' for '-' and without one at the end; None is left out.
    """
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(shown(str(value)))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in ("img", "meta", "link"):
        return Html(f"<{name}{given}>")
    return Html(f"<{name}{given}>{joined(children)}</{name}>")


def page(title: str, generator: str, sections: Sequence[tuple[str, Html]]) -> bytes:
    """A whole page, as the bytes of its file.

    Args:
      title: its heading, and its name in the browser.
      generator: the program that makes it; among the first 1024 bytes.
      sections: heading and content; the first has no heading and stands above the list of them.
    """
    head = joined(
        [
            Html('<meta charset="utf-8">'),
            tag("meta", name="generator", content=generator),
            # Were anything not escaped, it would still not run.
            Html(
                '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
                "img-src data:; style-src 'unsafe-inline'\">"
            ),
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            tag("link", rel="icon", href="data:,"),
            tag("title", title),
            tag("style", Html(_STYLE)),
        ]
    )
    (_, first), *rest = sections
    links = [tag("a", heading, href=f"#part{i}") for i, (heading, _) in enumerate(rest)]
    body = [
        tag("header", tag("h1", title), first, tag("nav", *links, aria_label="Parts of the page")),
        tag(
            "main",
            *(
                tag("section", tag("h2", heading, id=f"part{i}"), content)
                for i, (heading, content) in enumerate(rest)
            ),
        ),
    ]
    whole = tag("html", tag("head", head), tag("body", *body), lang="en")
    return f"<!DOCTYPE html>\n{whole}\n".encode()


def table(cells: Sequence[Sequence[object]], kind: str = "numbers") -> Html:
    """A table in a box of its own that scrolls; the first row and column are headings.

    Args:
      cells: text or markup.
      kind: its look, 'numbers' or 'settings'.
    """
    head, *rows = cells
    return scrolling(
        tag(
            "table",
            tag("thead", tag("tr", *(tag("th", cell, scope="col") for cell in head))),
            tag(
                "tbody",
                *(
                    tag("tr", tag("th", first, scope="row"), *(tag("td", x) for x in rest))
                    for first, *rest in rows
                ),
            ),
            class_=kind,
        )
    )


def matrix(
    counts: Sequence[Sequence[int]], names: Sequence[str], told: Callable[[int, int], str]
) -> Html:
    """A square table of counts, darker where a row has more of its own; rows are what is true.

    Args:
      counts: [classes][classes].
      names: of the rows and columns.
      told: of row and column, what to say while the mouse is over it.
    """
    corner = tag("th", "true \\ said", class_="from")
    head = tag("tr", corner, *(tag("th", name, scope="col", title=name) for name in names))
    lines = []
    for i, (name, row) in enumerate(zip(names, counts, strict=True)):
        total = max(1, sum(row))
        cells = []
        for j, count in enumerate(row):
            share = count / total
            # Green where they agree, red where not; what is rare has to be seen too.
            colour = "0,110,60" if i == j else "190,40,20"
            alpha = 0 if not count else 0.12 + 0.78 * share
            style = f"background:rgba({colour},{alpha:.2f})" + (";color:#fff" * (share > 0.8))
            cells.append(tag("td", count or "", title=told(i, j), style=style if count else None))
        lines.append(tag("tr", tag("th", name, scope="row", title=name), *cells))
    return scrolling(tag("table", tag("thead", head), tag("tbody", *lines), class_="matrix"))


def tiles(values: Sequence[tuple[str, str]]) -> Html:
    """Figures beside each other, each with what it is."""
    return tag(
        "dl",
        *(tag("div", tag("dt", name), tag("dd", value)) for name, value in values),
        class_="tiles",
    )


def picture(data: bytes, alt: str, width: int | None = None) -> Html:
    """A picture inside the page.

    Args:
      data: of a PNG, JPEG or GIF file.
      alt: what it shows.
      width: in the page's pixels, at most; None for its own.

    Raises:
      ValueError: another kind of file.
    """
    kinds = [kind for start, kind in _TYPES.items() if data.startswith(start)]
    if not kinds:
        raise ValueError(f"{alt}: the picture is no PNG, JPEG or GIF")
    uri = f"data:{kinds[0]};base64,{base64.b64encode(data).decode('ascii')}"
    return tag("img", src=uri, alt=alt, width=width)


def missing(text: str) -> Html:
    """A line on what there is not, and why."""
    return tag("p", text, class_="missing")


def note(text: str) -> Html:
    """A line of explanation."""
    return tag("p", text, class_="note")


def details(summary: str, *content: Html, open_: bool = False) -> Html:
    """What can be unfolded."""
    return tag("details", tag("summary", summary), *content, open="" if open_ else None)


def scrolling(content: Html) -> Html:
    """What is wider than the page scrolls in a box of its own; with the keyboard too."""
    return tag("div", content, class_="scroll", tabindex=0)
