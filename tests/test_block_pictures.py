"""tools/block_pictures.py, and the picture in each network's folder."""

import itertools

import numpy as np
import pytest
from conftest import ROOT
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import Rectangle
from matplotlib.transforms import Bbox
from PIL import Image

from tools.block_pictures import PICTURES, version


def overlap(one, other, by):
    """Whether two rectangles share one that is more than `by` pixels wide and high."""
    shared = Bbox.intersection(one, other)
    return shared is not None and min(shared.width, shared.height) > by


def stretches(axes):
    """Return the rectangles, some pixels wide, around every straight stretch of the lines and arrows."""
    paths = [line.get_xydata() for line in axes.lines]
    paths += [[text.xyann, text.xy] for text in axes.texts if not text.get_text()]  # annotations that are arrows
    paths = [axes.transData.transform(path) for path in paths]
    return [
        Bbox([np.minimum(start, end) - 1, np.maximum(start, end) + 1])
        for path in paths
        for start, end in itertools.pairwise(path)
    ]


@pytest.mark.parametrize("folder", PICTURES)
def test_a_picture_is_legible(folder):
    """Words stand within one box or beside all boxes and lines, nothing overlaps, nothing leaves the picture."""
    figure = PICTURES[folder]()
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    (axes,) = figure.axes
    sheets = [patch.get_window_extent() for patch in axes.patches if isinstance(patch, Rectangle)]  # may be stacked
    boxes = [patch.get_window_extent() for patch in axes.patches if not isinstance(patch, Rectangle)]
    texts = [text for text in axes.texts if text.get_text()]
    words = [text.get_window_extent(canvas.get_renderer()) for text in texts]
    lines = stretches(axes)
    assert len(words) >= 10 and len(boxes + sheets) >= 6 and len(lines) >= 7

    assert min(text.get_fontsize() for text in texts) >= 9
    for first, second in [*itertools.combinations(words, 2), *itertools.combinations(boxes, 2)]:
        assert not overlap(first, second, by=0)
    for text, word in zip(texts, words, strict=True):
        said = text.get_text()
        assert all(figure.bbox.padded(-5).contains(*corner) for corner in word.corners()), said
        around = [box for box in boxes + sheets if overlap(word, box, by=0)]
        assert len(around) <= 1, said
        assert all(box.padded(1).contains(*corner) for box in around for corner in word.corners()), said
        assert not any(overlap(word, line, by=0) for line in lines if not around), said
    for line, box in itertools.product(lines, boxes):
        assert not overlap(line, box, by=3)


@pytest.mark.parametrize("folder", PICTURES)
def test_the_picture_in_the_folder_is_the_one_that_is_drawn(folder, tmp_path):
    PICTURES[folder]().savefig(tmp_path / "block.png", dpi=160)
    with Image.open(tmp_path / "block.png") as drawn, Image.open(ROOT / folder / "block.png") as kept:
        assert kept.text["Comment"] == f"Drawn by {version()}", "run tools/block_pictures.py"
        assert drawn.size == kept.size and kept.size[0] == 1280
        drawn, kept = (np.asarray(picture.convert("L"), float) for picture in (drawn, kept))
    assert np.abs(drawn - kept).mean() < 2  # of 255; releases of matplotlib smooth letters a little differently
    assert drawn.std() > 20


def test_pictures_are_written_to_the_folders_that_are_there(run, refused, tmp_path):
    assert "has none of the folders 1.LeNet" in refused("tools/block_pictures.py", tmp_path)
    (tmp_path / "8.SENet").mkdir()
    assert run("tools/block_pictures.py", tmp_path).stdout == "8.SENet/block.png\n"
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.png")] == ["8.SENet/block.png"]
    with Image.open(tmp_path / "8.SENet/block.png") as picture:
        assert picture.size[0] == 1280
