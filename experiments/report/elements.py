"""HTML elements of a web page in a single file: escaped text, tables, pictures, and the style.

The page loads nothing and runs no script; its content security policy forbids both.
"""

import base64
from collections.abc import Callable, Sequence
from pathlib import Path

from markupsafe import Markup, escape

from experiments.cli.errors import printable

_TYPES = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif"}
_STYLE = Path(__file__).with_name("page.css")
# Even if some text were not escaped, the browser would not run it.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def escaped(text: object) -> Markup:
    """Returns text escaped, without line breaks and control characters; markup is unchanged."""
    return text if isinstance(text, Markup) else escape(printable(str(text)))


def joined(parts: Sequence[object]) -> Markup:
    """Returns parts one after another, without those that are None."""
    return Markup("").join(escaped(part) for part in parts if part is not None)


def tag(name: str, /, *children: object, **attributes: object) -> Markup:
    """Returns an element.

    Args:
      name: name of the element.
      *children: text, which is escaped, or markup; None is left out.
      **attributes: values by name; '_' in a name becomes '-', and a last '_' is dropped; None is
        left out.
    """
    given = Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), escape(printable(str(value))))
        for key, value in attributes.items()
        if value is not None
    )
    start = Markup("<{}{}>").format(name, given)
    if name in ("img", "meta", "link"):
        return start
    return start + joined(children) + Markup("</{}>").format(name)


def page(title: str, generator: str, sections: Sequence[tuple[str, Markup]]) -> bytes:
    """Returns a whole page as the content of its file.

    Args:
      title: heading of the page and its name in the browser.
      generator: program that made the page, written within the first 1024 bytes.
      sections: pairs of heading and content; the first section has no heading and is above the
        table of contents.
    """
    head = [
        tag("meta", charset="utf-8"),
        tag("meta", name="generator", content=generator),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("link", rel="icon", href="data:,"),
        tag("title", title),
        tag("style", Markup(_STYLE.read_text(encoding="utf-8"))),
    ]
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
    document = tag("html", tag("head", *head), tag("body", *body), lang="en")
    return f"<!DOCTYPE html>\n{document}\n".encode()


def table(cells: Sequence[Sequence[object]], kind: str = "numbers") -> Markup:
    """Returns a table in a scrolling box; the first row and the first column are headings.

    Args:
      cells: rows of text or markup.
      kind: class for the style, 'numbers' or 'settings'.
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
    counts: Sequence[Sequence[int]],
    names: Sequence[str],
    hover_text: Callable[[int, int], str],
) -> Markup:
    """Returns a confusion matrix as a table; a cell is darker the larger its share of the row.

    Args:
      counts: [classes][classes], rows are true classes.
      names: names of the rows and columns.
      hover_text: text for a row and a column, shown while the mouse is over the cell.
    """
    corner = tag("th", "true \\ predicted", class_="from")
    head = tag("tr", corner, *(tag("th", name, scope="col", title=name) for name in names))
    lines = []
    for i, (name, row) in enumerate(zip(names, counts, strict=True)):
        total = max(1, sum(row))
        cells = []
        for j, count in enumerate(row):
            share = count / total
            # Green on the diagonal, red elsewhere; the smallest share is still visible.
            colour = "0,110,60" if i == j else "190,40,20"
            alpha = 0 if not count else 0.12 + 0.78 * share
            style = f"background:rgba({colour},{alpha:.2f})" + (";color:#fff" * (share > 0.8))
            style = style if count else None
            cells.append(tag("td", count or "", title=hover_text(i, j), style=style))
        lines.append(tag("tr", tag("th", name, scope="row", title=name), *cells))
    return scrolling(tag("table", tag("thead", head), tag("tbody", *lines), class_="matrix"))


def tiles(values: Sequence[tuple[str, str]]) -> Markup:
    """Returns values in a row of tiles, each below its name."""
    return tag(
        "dl",
        *(tag("div", tag("dt", name), tag("dd", value)) for name, value in values),
        class_="tiles",
    )


def picture(data: bytes, alt: str, width: int | None = None) -> Markup:
    """Returns a picture that is part of the page.

    Args:
      data: content of a PNG, JPEG or GIF file.
      alt: description of the picture.
      width: largest width in CSS pixels; None for the picture's width.

    Raises:
      ValueError: the file is of another format.
    """
    kinds = [kind for start, kind in _TYPES.items() if data.startswith(start)]
    if not kinds:
        raise ValueError(f"{alt}: the picture is no PNG, JPEG or GIF")
    uri = f"data:{kinds[0]};base64,{base64.b64encode(data).decode('ascii')}"
    return tag("img", src=uri, alt=alt, width=width)


def missing(text: str) -> Markup:
    """Returns a highlighted line with the reason why a part of the page is missing."""
    return tag("p", text, class_="missing")


def note(text: str) -> Markup:
    """Returns a line of explanation in small type."""
    return tag("p", text, class_="note")


def details(summary: str, *content: Markup, open_: bool = False) -> Markup:
    """Returns content that readers can unfold below its summary."""
    return tag("details", tag("summary", summary), *content, open="" if open_ else None)


def scrolling(content: Markup) -> Markup:
    """Returns content in a box that scrolls sideways, by mouse or keyboard, if it is too wide."""
    return tag("div", content, class_="scroll", tabindex=0)
