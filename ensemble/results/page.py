"""The page of compare.py, report.html, which holds its sentences, tables and figures."""

import base64
import html
import shlex
import sys
from pathlib import Path

from ensemble.combining.predictions import PARTS
from ensemble.common.command import printable
from ensemble.common.pictures import write_pictures
from ensemble.results.comparison import verdict, verdicts
from ensemble.results.figures import figures, overview
from ensemble.results.tables import tables

CAPTIONS = {
    "gains": "Accuracy gained over the best member, with 95% score intervals (Tango). At the right, accuracy.",
    "members": "Accuracy of soft voting, as members join in the order of their validation accuracy.",
    "cost": "Accuracy against cost. Grey: each member alone. Blue: soft voting, as members join in the same order.",
    "simplex": "Validation accuracy of every weighting in steps of 1/40. A corner is a member alone.",
    "reliability": "Accuracy against confidence; on the diagonal a model is as sure as it is right. Dotted: at the "
    "temperature chosen on validation.",
    "disagreement": "Left: how often two members differ. Right: of the images that one of two misses, those that "
    "both miss.",
    "confusion": "Rows are the true classes. Right answers are left white, so that mistakes can be seen.",
    "missed": "Images that nobody gets right: the true class, what the ensemble sees, and what the members see.",
    "saved": "Images that only the ensemble gets right: every member prefers some other class.",
}
LONG_TABLE = 12  # rows; a longer one is folded
STYLE = """
:root { color-scheme: light dark }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 1080px; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.6rem } h2 { margin-top: 2.5rem } code { overflow-wrap: anywhere } .table { overflow-x: auto }
details { margin: 1rem 0 } summary { cursor: pointer; font-weight: 600 }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums }
th, td { padding: 2px 8px; text-align: right; white-space: nowrap; border: 0 }
tbody th { text-align: left; font-weight: normal } thead th { border-bottom: 1px solid #888 }
tbody tr:hover { background: #8883 } figure { margin: 1.5rem 0 }
img { max-width: 100%; height: auto; background: #fff; border-radius: 4px }
figcaption { opacity: 0.75; font-size: 14px }
"""


def write_files(folder, found):
    """Write ensemble.png, each figure as a PNG file, and report.html, which holds them all, to a folder."""
    drawn = {"ensemble": overview(found)} | figures(found)
    write_pictures(folder, drawn)
    pictures = {name: (folder / f"{name}.png").read_bytes() for name in CAPTIONS if name in drawn}
    (folder / "report.html").write_text(printable(page(found, pictures)), encoding="utf-8")


def page(found, pictures):
    """Return the HTML page, with the tables and the pictures, {name: bytes of a PNG file}, inside."""
    title = html.escape(f"{len(found.names)} members on {Path(found.data).name}")
    parts = [
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{title}</title>',
        f'<meta name="viewport" content="width=device-width">\n<style>{STYLE}</style>\n<h1>{title}</h1>',
        f"<p><strong>{html.escape(verdict(found))}</strong></p>",
    ]
    for name, picture in pictures.items():
        image = f'<img src="data:image/png;base64,{base64.b64encode(picture).decode()}" alt="{name}">'
        parts.append(f"<figure>{image}<figcaption>{CAPTIONS[name]}</figcaption></figure>")
    parts += [
        "<h2>Which gains are real</h2>\n<ul>",
        *(f"<li>{html.escape(sentence)}" for sentence in verdicts(found)),
        "</ul>\n<h2>Tables</h2>\n<p>* the best single member on validation</p>",
    ]
    for heading, table in tables(found).items():
        is_open = " open" if len(table) <= LONG_TABLE else ""
        text = f'<div class="table">{table.to_html(border=0)}</div>'
        parts.append(f"<details{is_open}><summary>{html.escape(heading)}</summary>\n{text}</details>")
    counts = " and ".join(f"{len(found.predictions[part].labels):,} {part} images" for part in PARTS)
    command = html.escape(shlex.join(["python", *sys.argv]))
    parts.append(f"<p>{counts}. Made by <code>{command}</code>.</p>")
    return "\n".join([*parts, "</html>\n"])
