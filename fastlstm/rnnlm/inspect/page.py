"""What a view makes, and the report made of it: one HTML file that needs no other."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from fastlstm.rnnlm.durable import write_atomically

CSS = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2em auto; padding: 0 1em;
       color: #222; background: #fff }
h1 { font-size: 1.5em } h2 { margin-top: 2em; border-bottom: 1px solid #ccc }
img { max-width: 100%; height: auto } .note { color: #555 }
table { border-collapse: collapse; margin: 1em 0 }
td, th { padding: .15em .8em; text-align: left }
th { border-bottom: 1px solid #999 }
td.number { text-align: right; font-variant-numeric: tabular-nums }
pre.text { font: 14px/1.5 ui-monospace, monospace; white-space: pre-wrap; overflow-wrap: anywhere;
           border: 1px solid #ddd; padding: .6em }
"""

LONG = 16  # rows of a table that is shown as a whole


@dataclass
class Section:
    """One view: a title, HTML parts in order, and pictures by the name of their PNG file."""

    name: str
    title: str
    parts: list[str] = field(default_factory=list)
    figures: dict[str, Figure] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        """A paragraph."""
        self.parts.append(f"<p>{escape(text)}</p>")

    def note(self, text: str) -> None:
        """A paragraph that the command prints too."""
        self.notes.append(text)
        self.parts.append(f'<p class="note">{escape(text)}</p>')

    def draw(self, name: str, figure: Figure, shown: bool = True) -> None:
        """A picture, saved as NAME.png; `shown` puts it into the report here."""
        self.figures[name] = figure
        if shown:
            self.parts.append(f"{{picture:{name}}}")

    def table(self, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """A table; numbers stand to the right, and a long one is folded up."""
        cells = "".join(f"<th>{escape(str(name))}</th>" for name in header)
        lines = ["".join(map(_cell, row)) for row in rows]
        body = "".join(f"<tr>{line}</tr>" for line in lines)
        table = f"<table><tr>{cells}</tr>{body}</table>"
        if len(rows) > LONG:
            table = f"<details><summary>the numbers, {len(rows)} rows</summary>{table}</details>"
        self.parts.append(table)

    def html(self, markup: str) -> None:
        """Markup as it is: its text must have been escaped."""
        self.parts.append(markup)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f'<td class="number">{value:.4g}</td>'
    kind = ' class="number"' if isinstance(value, int) else ""
    return f"<td{kind}>{escape(str(value))}</td>"


def save_page(folder: Path, name: str, title: str, facts: str, sections: list[Section]) -> Path:
    """Write the report NAME.html and every picture as PNG; returns the report's path."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"cannot make the folder {folder}: {error.strerror}") from error
    body = []
    for section in sections:
        body.append(f'<h2 id="{section.name}">{escape(section.title)}</h2>')
        pictures = {}
        for file, figure in section.figures.items():
            data = png(figure)
            write_atomically(folder / f"{file}.png", data)
            pictures[f"{{picture:{file}}}"] = _image(data, f"{section.title}: {file}")
        body.extend(pictures.get(part, part) for part in section.parts)
    page = (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{CSS}</style>\n<h1>{escape(title)}</h1>\n<p>{escape(facts)}</p>\n"
        + "\n".join(body)
        + "\n</html>\n"
    )
    path = folder / f"{name}.html"
    write_atomically(path, page.encode("utf-8", "replace"))
    return path


def png(figure: Figure) -> bytes:
    """A figure as a PNG file."""
    FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    return buffer.getvalue()


def _image(data: bytes, text: str) -> str:
    return (
        f'<img alt="{escape(text)}" src="data:image/png;base64,{base64.b64encode(data).decode()}">'
    )
