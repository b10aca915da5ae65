"""tools/multiply_adds.py, tools/block_pictures.py and the README.md of each network's folder."""

import itertools
import re
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from conftest import ROOT, load_script
from keras import layers
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import Rectangle
from matplotlib.transforms import Bbox
from PIL import Image

COUNTER, PAINTER = load_script("tools/multiply_adds.py"), load_script("tools/block_pictures.py")
FOLDERS = sorted(path.parent.name for path in ROOT.glob("[1-8].*/README.md"))


def test_every_folder_of_a_script_has_its_readme_variants_and_picture():
    scripts = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("[1-8].*/*.py"))
    assert len(scripts) == 8
    assert sorted(COUNTER.VARIANTS) == scripts
    assert sorted(PAINTER.PICTURES) == FOLDERS == [str(Path(script).parent) for script in scripts]


# tools/multiply_adds.py


def resnet_20_multiply_adds(version):
    """Of the first convolution, the dense layer and, stage by stage, 6 convolutions, one of fewer input channels."""
    total = 32 * 32 * 16 * (3 * 3 * 3) + 64 * 10
    for size, filters, before in ((32, 16, 16), (16, 32, 16), (8, 64, 32)):
        total += size * size * filters * 9 * (5 * filters + before)
        if version == 2 and before != filters:
            total += size * size * filters * before  # the projection
    return total


@pytest.mark.parametrize("version", [1, 2])
def test_resnet_20_has_the_multiply_adds_of_its_formula(version):
    script = load_script("4.ResNet/resnet.py", DEPTH=20, VERSION=version)
    model = script.build_model((32, 32, 3), 10, [0.0] * 3, [1.0] * 3)
    assert COUNTER.count_multiply_adds(model) == resnet_20_multiply_adds(version)
    assert resnet_20_multiply_adds(version) == pytest.approx(41e6, rel=0.02)


def test_convolutions_are_counted_place_by_place():
    inputs = keras.Input((9, 7, 12))
    x = layers.Conv2D(8, (3, 2), strides=2, padding="valid", groups=4)(inputs)
    x = layers.BatchNormalization()(x)
    x = layers.MaxPooling2D(2)(x)
    model = keras.Model(inputs, layers.Dense(5)(layers.Flatten()(x)))
    counted = 0
    for _top in range(0, 9 - 3 + 1, 2):
        for _left in range(0, 7 - 2 + 1, 2):
            for _filter in range(8):
                counted += 3 * 2 * 3  # of 12 channels a group sees 3
    assert COUNTER.count_multiply_adds(model) == counted + (2 * 1 * 8) * 5


def variants_of(folder):
    """Return {variant: [settings, parameters, trainable, multiply-adds in millions, error]} as its README.md says."""
    text = (ROOT / folder / "README.md").read_text()
    table = text.split(COUNTER.START)[1].split(COUNTER.END)[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if line.startswith("|")]
    return {row[0]: row[1:] for row in rows[2:]}


def test_the_tables_have_every_variant():
    for script, variants in COUNTER.VARIANTS.items():
        assert list(variants_of(Path(script).parent)) == [name for name, *_ in variants]


@pytest.mark.parametrize(
    ("folder", "variant", "trainable", "millions"),
    [  # as counted by osmr/imgclsmob, whose multiply-adds have in them those of batch normalisation and pooling
        ("2.NIN", "NIN", 966_986, 222.97),
        ("4.ResNet", "ResNet-20, pre-activation", 272_282, 41.27),
        ("4.ResNet", "ResNet-110, pre-activation", 1_730_522, 255.68),
        ("4.ResNet", "ResNet-164, pre-activation bottlenecks", 1_703_258, 255.08),
        ("4.ResNet", "ResNet-1001, pre-activation bottlenecks", 10_327_706, 1_536.18),
        ("5.WideResNet", "WRN-28-10", 36_479_194, 5_246.98),
        ("6.ResNeXt", "ResNeXt-29 16x64d", 68_155_210, 10_709.34),
        ("7.DenseNet", "DenseNet-BC-100-12", 769_162, 298.45),
        ("7.DenseNet", "DenseNet-BC-190-40", 25_624_430, 9_400.45),
    ],
)
def test_the_tables_agree_with_another_collection(folder, variant, trainable, millions):
    row = variants_of(folder)[variant]
    assert int(row[2].replace(",", "")) == trainable
    assert 0.95 * millions < float(row[3].replace(",", "")) < millions


@pytest.fixture
def lenet(tmp_path):
    """A copy of the folder 1.LeNet."""
    return shutil.copytree(ROOT / "1.LeNet", tmp_path / "1.LeNet")


def test_the_tables_of_small_networks_are_true_and_a_stale_one_is_rewritten(run, lenet):
    readme, tool = lenet / "README.md", "tools/multiply_adds.py"
    text = readme.read_text()
    assert (5 * 5 * 3 * 6 * 28**2 + 5 * 5 * 6 * 16 * 10**2 + 400 * 120 + 120 * 84 + 84 * 10) / 1e6 == 0.65172
    assert text.count("| 62,006 | 62,006 | 0.7 |") == 1
    stale = text.replace("| 62,006 | 62,006 |", "| 62,007 | 62,007 |")
    readme.write_text(stale)
    line = text.split("\n").index(COUNTER.START) + 1
    done = run(tool, lenet, ROOT / "2.NIN", status=1)
    assert done.stdout == f"1.LeNet/README.md:{line}: {COUNTER.START} is stale: run tools/multiply_adds.py --fix\n"
    assert "2.NIN: NIN with batch normalisation ...\n" in done.stderr
    assert readme.read_text() == stale
    done = run(tool, "--fix", lenet)
    assert done.stdout == f"1.LeNet/README.md:{line}: {COUNTER.START} rewritten\n1 tables of 1 variants: all true\n"
    assert readme.read_text() == text
    assert not list(lenet.glob("unfinished-*"))


def test_folders_without_a_place_for_the_table_are_refused(refused, lenet, tmp_path):
    for text in ("", COUNTER.START, f"{COUNTER.END}\n{COUNTER.START}", f"{COUNTER.START}\n" * 2 + COUNTER.END):
        (lenet / "README.md").write_text(text)
        assert "1.LeNet/README.md has no place for the table" in refused("tools/multiply_adds.py", lenet)
        assert (lenet / "README.md").read_text() == text
    (lenet / "README.md").write_bytes(b"\xff")
    assert "1.LeNet/README.md cannot be read as text" in refused("tools/multiply_adds.py", lenet)
    (lenet / "README.md").unlink()
    assert f"there is no {lenet / 'README.md'}" in refused("tools/multiply_adds.py", lenet)
    assert "9.Other is no folder with variants; there are 1.LeNet" in refused("tools/multiply_adds.py", "9.Other")


# README.md


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_readme_has_the_commands_of_its_script(folder):
    (script,) = (ROOT / folder).glob("*.py")
    commands = re.compile(r"^    python (\S+)(.*?)#", re.MULTILINE)
    docstring = [(name, options.split()) for name, options in commands.findall(script.read_text().split('"""')[1])]
    readme = (ROOT / folder / "README.md").read_text()
    assert [(name, options.split()) for name, options in commands.findall(readme)] == [
        (f"{folder}/{name}", options) for name, options in docstring
    ]
    assert len(docstring) >= 3


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_readme_has_its_picture_and_results_and_files_that_exist(folder):
    text = (ROOT / folder / "README.md").read_text()
    assert text.count(f"<!-- results: training {folder} -->") == 1
    links = re.findall(r"\]\((?!http)([^)]+)\)", text)
    assert "block.png" in links
    for link in links:
        assert (ROOT / folder / link).exists(), link


# tools/block_pictures.py


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


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_picture_is_legible(folder):
    """Words stand within one box or beside all boxes and lines, nothing overlaps, nothing leaves the picture."""
    figure = PAINTER.PICTURES[folder]()
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


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_picture_in_the_folder_is_the_one_that_is_drawn(folder, tmp_path):
    PAINTER.PICTURES[folder]().savefig(tmp_path / "block.png", dpi=160)
    with Image.open(tmp_path / "block.png") as drawn, Image.open(ROOT / folder / "block.png") as kept:
        assert kept.text["Comment"] == f"Drawn by {PAINTER.version()}", "run tools/block_pictures.py"
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
