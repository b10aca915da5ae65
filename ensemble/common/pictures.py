"""Pictures of results."""

import matplotlib

matplotlib.rcParams["text.parse_math"] = False  # a name may have a $ in it


def write_pictures(folder, figures):
    """Write figures, {name: figure}, to PNG files in a folder."""
    for name, figure in figures.items():
        figure.savefig(folder / f"{name}.png", dpi=110)
