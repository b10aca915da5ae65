"""The README.md of each network's folder."""

import re

import pytest
from conftest import ROOT, SCRIPTS

from ensemble.common.scripts import training_scripts
from tools.block_pictures import PICTURES
from tools.networks import BUILT, TITLES

FOLDERS = [path.parent.name for path in training_scripts()]


def test_every_folder_of_a_script_has_its_readme_variants_and_picture():
    assert {network.script for network in BUILT} == set(SCRIPTS) and list(TITLES) == list(SCRIPTS)
    assert list(PICTURES) == FOLDERS == [script.partition("/")[0] for script in SCRIPTS]


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
    links = re.findall(r"\]\((?!http)([^)#]+)(?:#[^)]*)?\)", text)
    assert "block.png" in links
    for link in links:
        assert (ROOT / folder / link).exists(), link


@pytest.mark.parametrize(
    "page", ["README.md", "CONTRIBUTING.md", "results/README.md", "ensemble/README.md", "cluster/README.md"]
)
def test_what_the_other_pages_link_to_exists(page):
    links = re.findall(r"\]\((?!http|#)([^)]+?)(?:#[^)]*)?\)", (ROOT / page).read_text())
    assert links
    for link in links:
        assert (ROOT / page).parent.joinpath(link).exists(), link
