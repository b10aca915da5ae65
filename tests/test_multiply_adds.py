"""tools/multiply_adds.py, against formulas, another collection, and the README.md of each network's folder."""

import shutil
from pathlib import Path

import keras
import pytest
from conftest import ROOT, SCRIPTS, load_script
from keras import layers

from tools.multiply_adds import END, START, count_multiply_adds
from tools.networks import BUILT


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
    assert count_multiply_adds(model) == resnet_20_multiply_adds(version)
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
    assert count_multiply_adds(model) == counted + (2 * 1 * 8) * 5


def variants_of(folder):
    """Return {variant: [settings, parameters, trainable, multiply-adds in millions, error]} as its README.md says."""
    text = (ROOT / folder / "README.md").read_text()
    table = text.split(START)[1].split(END)[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if line.startswith("|")]
    return {row[0]: row[1:] for row in rows[2:]}


def test_the_tables_have_every_variant():
    for script in SCRIPTS:
        names = [network.name for network in BUILT if network.script == script]
        assert list(variants_of(Path(script).parent)) == names


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
    line = text.split("\n").index(START) + 1
    done = run(tool, lenet, ROOT / "2.NIN", status=1)
    assert done.stdout == f"1.LeNet/README.md:{line}: {START} is stale: run tools/multiply_adds.py --fix\n"
    assert "2.NIN: NIN with batch normalisation ...\n" in done.stderr
    assert readme.read_text() == stale
    done = run(tool, "--fix", lenet)
    assert done.stdout == f"1.LeNet/README.md:{line}: {START} rewritten\n1 tables of 1 variants: all true\n"
    assert readme.read_text() == text
    assert not list(lenet.glob("unfinished-*"))


def test_folders_without_a_place_for_the_table_are_refused(refused, lenet, tmp_path):
    for text in ("", START, f"{END}\n{START}", f"{START}\n" * 2 + END):
        (lenet / "README.md").write_text(text)
        assert "1.LeNet/README.md has no place for the table" in refused("tools/multiply_adds.py", lenet)
        assert (lenet / "README.md").read_text() == text
    (lenet / "README.md").write_bytes(b"\xff")
    assert "1.LeNet/README.md cannot be read as text" in refused("tools/multiply_adds.py", lenet)
    (lenet / "README.md").unlink()
    assert f"there is no {lenet / 'README.md'}" in refused("tools/multiply_adds.py", lenet)
    assert "9.Other is no folder with variants; there are 1.LeNet" in refused("tools/multiply_adds.py", "9.Other")
