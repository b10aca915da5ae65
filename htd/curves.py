"""Draw hyperbolic-tangent decay for several L and U, beside step and cosine: htd/curves.png.

    python htd/curves.py

The curves are what learning_rate in 4.ResNet/resnet.py gives for its settings, as parts of the highest rate.
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # where the packages stand

from ensemble.common.command import new_parser, run_command
from ensemble.common.files import written_whole
from ensemble.common.scripts import read_script, settings_of
from htd.runs import step_rates

LOWER = [(-2, 3), (-4, 3), (-6, 3), (-10, 3)]
UPPER = [(-6, 1), (-6, 2), (-6, 3), (-6, 6)]
STEPS = 100  # in an epoch


def rates(script, *arguments):
    """Return the script's learning rate of each step of a run, as a part of the highest."""
    settings, _ = settings_of(script, arguments)
    return step_rates(script, settings["EPOCHS"], STEPS) / settings["LEARNING_RATE"]


def draw(script):
    """Return the figure: several L with one U, and several U with one L, of these also the logarithm."""
    figure = Figure(figsize=(12, 4), layout="constrained")
    for axes, pairs, title in zip(
        figure.subplots(1, 3),
        (LOWER, UPPER, UPPER),
        ("L: how long it stays high", "U: how low it ends", "The same, logarithmic"),
        strict=True,
    ):
        for lower, upper in pairs:
            curve = rates(script, "--schedule=tanh", f"--tanh-from={lower}", f"--tanh-to={upper}")
            part = np.arange(len(curve)) / len(curve)
            axes.plot(part, curve, label=f"L = {lower}, U = {upper}")
        for schedule, style in (("cosine", "--"), ("step", ":")):
            axes.plot(part, rates(script, f"--schedule={schedule}"), style, color="black", linewidth=1, label=schedule)
        axes.set(xlabel="part of the run", ylabel="part of the highest learning rate")
        axes.set_title(title, fontsize=10)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    axes.set(yscale="log", ylim=(1e-5, 1.5))
    axes.yaxis.set_major_formatter(lambda rate, _: f"{rate:g}")
    return figure


def main():
    new_parser(__doc__).parse_args()
    with written_whole(Path(__file__).with_name("curves.png")) as path:
        draw(read_script("4.ResNet/resnet.py")).savefig(path, dpi=100)
    print("htd/curves.png is drawn")


if __name__ == "__main__":
    run_command(main)
