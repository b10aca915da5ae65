"""A picture of boxes, signs and arrows, in inches, which block_pictures.py draws the networks' blocks with."""

import re

from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch, Rectangle

COLOURS = {
    "data": "#eceff1",
    "convolution": "#bbdefb",
    "normalisation": "#dcedc8",
    "pooling": "#ffe0b2",
    "dense": "#d1c4e9",
    "dropout": "#f8bbd0",
    "sign": "#ffffff",
}
DEPTHS = {  # of VGG
    "every depth": "#90caf9",
    "VGG-13 and deeper": "#bbdefb",
    "VGG-16 and VGG-19": "#e3f2fd",
    "VGG-19 alone": "#ffffff",
}
LINE = "#37474f"


class Picture:
    """A figure with boxes, signs, arrows and notes; all places in inches, given by their middle."""

    def __init__(self, title, height):
        self.figure = Figure(figsize=(8, height), facecolor="white")
        self.axes = self.figure.add_axes((0, 0, 1, 1), xlim=(0, 8), ylim=(0, height))
        self.axes.set_axis_off()
        self.note(4, height - 0.25, title, size=13, weight="bold")

    def note(self, x, y, text, size=9, align="center", weight="normal"):
        text = re.sub(r"(?<=[\dkHW])x(?=[\dkWC])", "\N{MULTIPLICATION SIGN}", text)
        self.axes.text(x, y, text, fontsize=size, ha=align, va="center", color=LINE, weight=weight, linespacing=1.25)

    def heading(self, x, y, text, align="center"):
        self.note(x, y, text, 10.5, align, weight="bold")

    def box(self, x, y, text, kind, width=1.9, height=0.36, size=9.5):
        corner = (x - width / 2, y - height / 2)
        style = {"facecolor": {**COLOURS, **DEPTHS}[kind], "edgecolor": LINE, "linewidth": 1}
        rounded = "round,pad=0,rounding_size=0.06"
        self.axes.add_patch(FancyBboxPatch(corner, width, height, boxstyle=rounded, **style))
        self.note(x, y, text, size)

    def block(self, x, y, width, height, kind):
        """A plain rectangle, which stands for numbers rather than for a layer; x and y are its lower left corner."""
        style = {"facecolor": COLOURS[kind], "edgecolor": LINE, "linewidth": 0.8}
        self.axes.add_patch(Rectangle((x, y), width, height, **style))

    def sign(self, x, y, text):
        style = {"facecolor": COLOURS["sign"], "edgecolor": LINE, "linewidth": 1}
        self.axes.add_patch(Circle((x, y), 0.15, **style))
        self.note(x, y, text, size=13)

    def arrow(self, *points, dashed=False, head=True):
        """A line through the points, with its head at the last."""
        style = {"color": LINE, "linewidth": 1.1, "linestyle": "--" if dashed else "-"}
        line = points[:-1] if head else points
        if len(line) > 1:
            self.axes.plot(*zip(*line, strict=True), **style)
        if head:
            tip = {"arrowstyle": "-|>,head_width=0.18,head_length=0.35", "shrinkA": 0, "shrinkB": 0, **style}
            self.axes.annotate("", points[-1], points[-2], arrowprops=tip)

    def column(self, x, top, items, width=1.9, step=0.56, last=True):
        """Boxes one below the other, the first at height `top`, joined by arrows; "+" is a sign. Return their heights.

        items: (text, kind); an arrow leads into the first, and out of the last if `last`.
        """
        heights = [top - number * step for number in range(len(items))]
        halves = [0.15 if kind == "sign" else 0.18 for _, kind in items]
        above = top + step
        for (text, kind), y, half in zip(items, heights, halves, strict=True):
            self.arrow((x, above), (x, y + half))
            self.sign(x, y, text) if kind == "sign" else self.box(x, y, text, kind, width)
            above = y - half
        if last:
            self.arrow((x, above), (x, above - 0.3))
        return heights

    def row(self, left, y, items, width=1.65, step=1.9):
        """Boxes one beside the other, the first from `left` on, joined by arrows. items: (text, kind)."""
        for number, (text, kind) in enumerate(items):
            x = left + width / 2 + number * step
            self.box(x, y, text, kind, width)
            if number > 0:
                self.arrow((x + width / 2 - step, y), (x - width / 2, y))
