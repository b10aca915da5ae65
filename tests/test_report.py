"""What compare.py shows: its sentences and tables by hand, its galleries and figures against plain loops, its page."""

import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from test_ensemble import draw

from ensemble import compare
from ensemble.combining.predictions import Predictions
from ensemble.members.member import Member
from ensemble.results import figures as figures_module
from ensemble.results.comparison import Comparison, verdict, verdicts
from ensemble.results.figures import figures, galleries
from ensemble.results.page import CAPTIONS, write_files
from ensemble.results.tables import tables


@pytest.fixture(scope="module")
def found():
    """The comparison of four made-up members on 300 images of 4 classes."""
    parts = {part: draw("random", 4, 300, 4, seed) for part, seed in (("validation", 0), ("test", 1))}
    members = []
    for i, name in enumerate("abcd"):
        predictions = {part: Predictions(given[i], labels) for part, (given, labels) in parts.items()}
        for (
            own
        ) in predictions.values():  # so that a member is better the later it comes, and the last is not always best
            sure = np.random.default_rng(i).random(300) < 0.2 + 0.1 * i
            own.probabilities[sure] = 0.1 + 0.6 * np.eye(4)[own.labels[sure]]
        members.append(
            Member(
                path=Path(name) / "model.h5",
                model=name,
                parameters=1000 * (i + 1),
                data="cats & dogs.npz",
                split="s",
                predictions=predictions,
            )
        )
    images = np.random.default_rng(9).integers(256, size=(300, 32, 32, 3), dtype=np.uint8)
    return compare.compare(members, [0.5, 1.0, 1.5, None], ["cat", "dog", "<owl>", "fox"], images)


def test_verdicts_say_of_every_gain_what_its_interval_says(found):
    sentences = verdicts(found)
    for key, over in (("over_best", "that member"), ("over_soft_voting", "soft voting")):
        for name, row in found.methods.items():
            if key not in row:
                continue
            low, high, gain = (row[key][part] for part in ("low", "high", "gain"))
            kind = "No clear difference to"
            if row[key]["adjusted_p"] < 0.05:
                kind = "Better than" if gain > 0 else "Worse than"
            text = f"{name} {100 * row[key]['gain']:+.2f} [{100 * low:+.2f}, {100 * high:+.2f}]"
            assert [s.split(f" {over}")[0] for s in sentences if text in s and f" {over}" in s] == [kind]
    best = max(found.rows, key=lambda row: (row["validation"]["accuracy"], -row["validation"]["loss"]))
    assert f"{100 * best['test']['accuracy']:.2f}%" in sentences[0]


def test_the_verdict_is_of_the_method_chosen_on_validation(found):
    row = found.methods[found.chosen]
    better = [
        100 * (row["test"]["accuracy"] - found.rows[found.best]["test"]["accuracy"]),
        row["over_best"]["adjusted_p"],
    ]
    sentence = verdict(found)
    assert sentence.lower().startswith(f"{found.chosen}, the method best on validation, has ")
    assert f"{100 * row['test']['accuracy']:.2f}% of the test images right: {better[0]:+.2f} points [" in sentence
    assert sentence.endswith("more than chance." if better[1] < 0.05 else "which may be chance.")
    changed = {found.chosen: row | {"over_best": row["over_best"] | {"adjusted_p": 0.5 if better[1] < 0.05 else 0.01}}}
    other = Comparison(**{**vars(found), "methods": found.methods | changed})
    assert verdict(other).endswith("which may be chance." if better[1] < 0.05 else "more than chance.")


def test_the_cost_of_an_ensemble_is_that_of_the_members_it_uses(found):
    costs = tables(found)["Cost"]
    assert costs.loc["soft voting"].tolist() == ["4", "10,000", "unknown"]
    for name, row in found.methods.items():
        weights = row.get("weights", row.get("tempered_weights", [1] * len(found.names)))
        used = [i for i, weight in enumerate(weights) if weight > 0]
        assert costs.loc[name, "members"] == str(len(used))
        assert row["parameters"] == sum(1000 * (i + 1) for i in used)
        assert row["seconds_per_1000_images"] == (
            None if 3 in used else pytest.approx(sum(0.5 * (i + 1) for i in used))
        )


def test_galleries_hold_the_images_that_all_members_miss(found, monkeypatch):
    drawn = {}
    monkeypatch.setattr(
        figures_module, "draw_gallery", lambda found, chosen, title: drawn.update({title[:6]: chosen.tolist()})
    )
    galleries(found)
    expected = {"Missed": [], "Right ": []}
    for number, label in enumerate(found.output.labels.tolist()):
        if all(given[number].argmax() != label for given in found.predictions["test"].probabilities):
            expected["Right " if found.output.choices[number] == label else "Missed"].append(number)
    assert expected["Missed"] and {kind: sorted(those) for kind, those in drawn.items()} == {
        kind: those for kind, those in expected.items() if those
    }
    sure = [found.output.probabilities[number].max() for number in drawn["Missed"]]
    assert sure == sorted(sure, reverse=True)


def test_figures_show_what_was_found(found):
    drawn = figures(found)
    assert set(drawn) <= set(CAPTIONS) and {"gains", "simplex", "cost", "missed", "confusion"} <= set(drawn)
    numbers = drawn["members"].axes[0].lines[0].get_ydata()
    np.testing.assert_allclose(numbers, 100 * np.array(found.between["by_number"]))
    texts = {(text.get_position()[::-1]): text.get_text() for text in drawn["confusion"].axes[0].texts}
    labels, given = found.output.labels, found.output.choices
    for i in range(4):
        for j in range(4):
            share = 100 * ((labels == i) & (given == j)).sum() / (labels == i).sum()
            assert texts[i, j] == (f"{share:.1f}" if share else "")
    assert len(drawn["cost"].axes) == 1  # seconds are not known of every member
    assert "cost" not in figures(without(found, "parameters"))


def without(found, key):
    """The comparison, with a cost unknown."""
    rows = [row | {key: None} for row in found.rows]
    return Comparison(**{**vars(found), "rows": rows})


class Images(HTMLParser):
    """Collects the sources of images, and texts."""

    def __init__(self, page):
        super().__init__()
        self.sources, self.texts, self.outside = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "img":
            self.sources.append(attributes["src"])
        self.outside += [
            value for name, value in attributes.items() if name in ("href", "src") and "data:" not in value
        ]

    def handle_data(self, data):
        self.texts.append(data)


def test_the_page_holds_everything_itself(found, tmp_path):
    write_files(tmp_path, found)
    page = Images((tmp_path / "report.html").read_text(encoding="utf-8"))
    files = {path.read_bytes() for path in tmp_path.glob("*.png") if path.stem != "ensemble"}
    assert len(files) >= 8 and all(file.startswith(b"\x89PNG") for file in files)
    assert {base64.b64decode(source.split(",")[1]) for source in page.sources} == files
    assert page.outside == []
    text = " ".join(page.texts)
    assert "4 members on cats & dogs.npz" in text
    for sentence in verdicts(found):
        assert sentence in text
    places = [text.index(part) for part in (verdict(found), CAPTIONS["gains"], verdicts(found)[0], *tables(found))]
    assert places == sorted(places)  # first what it comes to, then the figures, then the tables
    accuracies = re.findall(r"\d+\.\d\d", text)
    assert all(f"{100 * row['test']['accuracy']:.2f}" in accuracies for row in [*found.rows, *found.methods.values()])


def test_without_images_there_is_no_gallery(found):
    assert not {"missed", "saved"} & set(figures(Comparison(**{**vars(found), "images": None})))
