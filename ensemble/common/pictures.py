"""Pictures, written whole."""

import matplotlib

from ensemble.common.files import written_apart

matplotlib.rcParams["text.parse_math"] = False  # a name may have a $ in it


def write_pictures(folder, figures):
    """Write figures, {name: figure}, to PNG files in a folder."""
    for name, figure in figures.items():
        with written_apart(folder / f"{name}.png") as path:
            figure.savefig(path, dpi=110)
