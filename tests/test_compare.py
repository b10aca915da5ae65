"""ensemble/compare.py: its methods and measures against brute force, SciPy, other formulas and figures by hand."""

import hashlib
import itertools
import json

import numpy as np
import pytest
from conftest import run_script
from scipy.optimize import minimize, minimize_scalar
from scipy.special import softmax, xlogy
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from test_ensemble import KINDS, draw, write_member, write_members

from benchmarks import compare_methods
from benchmarks.likelihood_weights import compare as time_likelihood_weights
from ensemble import compare
from ensemble.combining import likelihood, methods, significance
from ensemble.combining.likelihood import GAP, duality_gap, likelihood_weights
from ensemble.combining.methods import (
    FOLDS,
    StackedRegression,
    WeightedMean,
    ancestors_weightings,
    best_of,
    greedy_counts,
    make_folds,
    methods_for,
    stacking,
)
from ensemble.combining.metrics import (
    LEAST,
    best_temperature,
    brier_score,
    calibration_bins,
    calibration_error,
    tempered,
)
from ensemble.combining.predictions import Predictions
from ensemble.combining.significance import gain_interval, holm, mcnemar
from ensemble.combining.votes import geometric_mean
from ensemble.combining.weight_grid import contest_count, search, weighted_mean


# Methods
def test_the_geometric_mean_is_the_root_of_the_product():
    probabilities, _ = draw("random", 3, 50, 4, seed=0)
    expected = np.cbrt(probabilities[0] * probabilities[1] * probabilities[2])
    found = geometric_mean(probabilities)
    np.testing.assert_allclose(found, expected / expected.sum(axis=1, keepdims=True), rtol=1e-10)
    certain = np.array([[[1.0, 0.0]], [[0.0, 1.0]]])
    np.testing.assert_allclose(geometric_mean(certain), [[0.5, 0.5]])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 2, 3, 6])
def test_no_other_weights_are_likelier(kind, count):
    probabilities, labels = draw(kind, count, 60, 3, seed=count)
    weights = likelihood_weights(Predictions(probabilities, labels))
    gap = duality_gap(weights, Predictions(probabilities, labels))
    assert weights.min() >= 0 and weights.sum() == pytest.approx(1) and 0 <= gap <= GAP
    given = np.maximum(probabilities[:, np.arange(60), labels], LEAST)

    def loss(weights):
        return -np.log(np.maximum(weights, 0) @ given + 1e-300).mean()

    sums_to_one = {"type": "eq", "fun": lambda weights: weights.sum() - 1}
    random = np.random.default_rng(0)
    for start in random.dirichlet(np.ones(count), 5):
        other = minimize(loss, start, method="SLSQP", bounds=[(0, 1)] * count, constraints=sums_to_one).x
        assert loss(weights) <= loss(other / other.sum()) + 1e-8
    # the gap bounds what far worse weights lack
    worse = random.dirichlet(np.ones(count))
    bound = (given / (worse @ given)).mean(axis=1).max() - 1
    assert loss(worse) - loss(weights) <= bound + 1e-9


def given_to_labels(kind, count, images, seed):
    """What members give the labels, (count, images): drawn so that a member is all but certainly wrong now and then."""
    random = np.random.default_rng(seed)
    if kind == "each saves an image":  # which all others give nothing
        given = np.repeat(random.uniform(0.05, 0.95, (count, 1)), images, axis=1)
        given[:, :count] = np.eye(count)
    elif kind == "near 0 or 1":
        given = random.beta(0.05, 0.02, (count, images))
    elif kind == "of all sizes":
        given = 10 ** random.uniform(-8, 0, (count, images))
    else:  # all but the same
        given = random.beta(0.3, 0.1, images) * random.uniform(1 - 1e-9, 1, (count, images))
    return given


def of_two_classes(given):
    """Predictions (members, n, 2) of members that give the label this, (members, n)."""
    return Predictions(np.stack([given, 1 - given], axis=2), np.zeros(given.shape[1], int))


def test_the_likeliest_weights_where_one_member_gives_a_label_nothing():
    given = np.array([[0.5] * 499 + [0], [0.1] * 499 + [1]])
    # 499 log(0.1 + 0.4 w) + log(1 - w) is greatest where 199.6 (1 - w) = 0.1 + 0.4 w
    weights = likelihood_weights(of_two_classes(given))
    np.testing.assert_allclose(weights, [0.9975, 0.0025], atol=1e-6)
    assert duality_gap(weights, of_two_classes(given)) <= GAP


@pytest.mark.parametrize("kind", ["each saves an image", "near 0 or 1", "of all sizes", "all but the same"])
def test_the_likeliest_weights_of_hard_cases_against_em_and_slsqp(kind):
    for seed, (count, images) in enumerate(itertools.product((2, 3, 5, 8), (50, 500, 2000))):
        predictions = of_two_classes(given_to_labels(kind, count, images, seed))
        given = np.maximum(predictions.probabilities[:, :, 0], LEAST)
        weights = likelihood_weights(predictions)
        assert weights.min() >= 0 and weights.sum() == pytest.approx(1)
        assert duality_gap(weights, predictions) <= GAP

        def loss(weights, given=given):
            return -np.log(np.maximum(weights @ given, 1e-300)).mean()

        em = np.full(count, 1 / count)
        for _ in range(1000):
            em = em * (given / (em @ given)).mean(axis=1)
        lacks = (given / (em @ given)).mean(axis=1).max() - 1
        assert -1e-12 <= loss(em) - loss(weights) <= lacks + 1e-9
        sums_to_one = {"type": "eq", "fun": lambda weights: weights.sum() - 1}
        start = np.full(count, 1 / count)
        other = minimize(loss, start, method="SLSQP", bounds=[(0, 1)] * count, constraints=sums_to_one).x
        other = np.maximum(other, 0)
        assert loss(weights) <= loss(other / other.sum()) + GAP


def test_tempered_weights_do_not_punish_a_member_for_being_unsure():
    random = np.random.default_rng(0)
    labels = random.integers(4, size=1000)
    logits = random.normal(scale=2, size=(2, 1000, 4))
    logits[0, np.arange(1000), labels] += 5  # the better member, but far less sure than it is right
    logits[1, np.arange(1000), labels] += 4
    probabilities = np.stack([softmax(logits[0] / 10, axis=1), softmax(logits[1], axis=1)])
    folds = make_folds(labels)
    combine, outputs = methods_for(2)[0]["likelihood, tempered"](Predictions(probabilities, labels), folds)
    assert likelihood_weights(Predictions(probabilities, labels))[0] < 0.1 < 0.6 < combine.weights[0]

    def learn(own):  # by SciPy, with powers in place of logarithms
        powers = []
        for member in probabilities[:, own]:

            def loss(t, member=member):
                power = member ** (1 / t)
                return -np.log(power[np.arange(len(power)), labels[own]] / power.sum(axis=1)).mean()

            powers.append(1 / minimize_scalar(loss, bounds=(0.05, 20), method="bounded").x)
        given = [scaled(member, power) for member, power in zip(probabilities, powers, strict=True)]
        first, second = (member[own, labels[own]] for member in given)
        share = minimize_scalar(lambda w: -np.log(w * first + (1 - w) * second).mean(), bounds=(0, 1), method="bounded")
        return share.x * given[0] + (1 - share.x) * given[1]

    def scaled(member, power):
        return member**power / (member**power).sum(axis=1, keepdims=True)

    np.testing.assert_allclose(combine(probabilities), learn(np.full(1000, True)), atol=1e-4)
    for fold in range(FOLDS):
        np.testing.assert_allclose(outputs[folds == fold], learn(folds != fold)[folds == fold], atol=1e-4)


def test_rounding_of_the_loss_does_not_stop_the_search():
    for seed in range(400):  # on some of which a step that must not lose by rounding never arrives
        predictions = of_two_classes(given_to_labels("of all sizes", 3, 60, seed))
        weights = likelihood_weights(predictions)
        assert duality_gap(weights, predictions) <= GAP


def test_likelihood_weights_short_of_the_promise_are_refused(monkeypatch, capsys):
    monkeypatch.setattr(likelihood, "MOST_STEPS", 2)
    with pytest.raises(SystemExit) as exit_status:
        likelihood_weights(of_two_classes(np.array([[0.5] * 499 + [0], [0.1] * 499 + [1]])))
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert exit_status.value.code == 2 and "after 2 steps the likelihood weights may be" in line


def test_the_benchmark_of_likelihood_weights_compares_the_same():
    cells = [cell.strip() for cell in time_likelihood_weights(3, images=500).strip("|").split("|")]
    assert cells[0] == "3" and all(float(cell) > 0 for cell in cells[1:4])
    assert abs(float(cells[4])) < 1e-3 and abs(float(cells[5])) < 1e-8


def test_the_benchmark_of_all_methods_times_them_all():
    members = compare_methods.make_members(3, validation=150, test=200)
    assert all(member.predictions["validation"].probabilities.shape == (150, 10) for member in members)
    assert all(member.predictions["test"].probabilities.shape == (200, 10) for member in members)
    seconds = compare_methods.measure(members)
    assert set(methods_for(3)[0]) < set(seconds) and min(seconds.values()) > 0


@pytest.mark.parametrize("kind", KINDS)
def test_greedy_selection_against_plain_loops(kind, monkeypatch):
    monkeypatch.setattr(methods, "ROUNDS", 7)
    for seed in range(4):
        probabilities, labels = draw(kind, 3, 30, 4, seed)
        taken, path = [], []
        for _ in range(7):
            merits = []
            for candidate in range(3):
                mean = sum(probabilities[i] for i in [*taken, candidate]) / (len(taken) + 1)
                right = sum(int(np.argmax(row)) == label for row, label in zip(mean, labels, strict=True))
                likelihood = sum(np.log(max(row[label], 1e-7)) for row, label in zip(mean, labels, strict=True))
                merits.append((right, round(likelihood, 9), -candidate))
            taken = [*taken, -max(merits)[2]]
            path.append((max(merits)[0], -len(taken), list(taken)))
        chosen = max(path)[2]
        assert greedy_counts(Predictions(probabilities, labels)).tolist() == [chosen.count(i) for i in range(3)]


def test_the_ancestors_grid_against_its_loops():
    for seed in range(5):
        probabilities, labels = draw("random", 3, 40, 3, seed)
        best, weights = -1, None
        for first, second in itertools.product(range(11), repeat=2):
            tried = np.array([first, second, 20 - first - second])
            right = (np.tensordot(tried, probabilities, axes=1).argmax(axis=1) == labels).sum()
            if right > best:
                best, weights = right, tried
        grid = best_of(ancestors_weightings(3), lambda units: units[0])
        combine, _ = grid(Predictions(probabilities, labels), np.arange(40) % 5)
        np.testing.assert_allclose(combine(probabilities), np.tensordot(weights / 20, probabilities, axes=1))


def test_the_grid_is_the_search_and_is_cross_validated_as_if_each_fold_were_unknown():
    probabilities, labels = draw("random", 3, 100, 4, seed=1)
    folds = make_folds(labels)
    combine, outputs = methods_for(3)[0]["grid"](Predictions(probabilities, labels), folds)
    units, _ = search(Predictions(probabilities, labels))
    np.testing.assert_allclose(combine(probabilities), weighted_mean(probabilities, units), rtol=1e-12)
    for fold in range(FOLDS):
        own = folds == fold
        units, _ = search(Predictions(probabilities[:, ~own], labels[~own]))
        expected = weighted_mean(probabilities[:, own], units)
        np.testing.assert_allclose(outputs[own], expected, rtol=1e-12)


def test_folds_hold_every_class_in_equal_parts():
    labels = np.repeat(np.arange(4), 10)
    folds = make_folds(labels)
    assert sorted(set(zip(labels.tolist(), folds.tolist(), strict=True))) == list(itertools.product(range(4), range(5)))
    assert np.bincount(folds).tolist() == [8] * 5


def test_what_a_method_gives_a_fold_does_not_depend_on_its_labels():
    probabilities, labels = draw("random", 3, 120, 3, seed=2)
    folds = make_folds(labels)
    changed = np.where(folds == 0, (labels + 1) % 3, labels)
    for name in ("grid", "ancestor's grid", "likelihood", "likelihood, tempered", "greedy", "stacking"):
        method = methods_for(3)[0][name]
        outputs = [method(Predictions(probabilities, given), folds)[1] for given in (labels, changed)]
        np.testing.assert_array_equal(outputs[0][folds == 0], outputs[1][folds == 0])
        assert not np.array_equal(outputs[0], outputs[1]) or name == "greedy"


def test_stacking_learns_that_a_member_names_the_classes_otherwise():
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 60)
    turned = softmax(4 * np.eye(3)[(labels + 1) % 3] + random.normal(size=(180, 3)), axis=1)
    noise = softmax(random.normal(size=(180, 3)), axis=1)
    probabilities = np.stack([turned, noise])
    combine, outputs = stacking(Predictions(probabilities, labels), make_folds(labels))
    assert (turned.argmax(axis=1) == labels).mean() < 0.1
    for given in (outputs, combine(probabilities)):
        assert (given.argmax(axis=1) == labels).mean() > 0.95
        np.testing.assert_allclose(given.sum(axis=1), 1)


@pytest.mark.parametrize("classes", [2, 4])
def test_stacking_gives_what_scikit_learn_does(classes):
    random = np.random.default_rng(0)
    probabilities = softmax(2 * random.normal(size=(3, 200, classes)), axis=2)
    labels = random.integers(classes, size=200)
    found = StackedRegression(Predictions(probabilities, labels), 0.1)
    features = np.concatenate(np.log(probabilities), axis=1)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000, tol=1e-3)).fit(features, labels)
    np.testing.assert_allclose(found(probabilities), model.predict_proba(features), atol=1e-12)


def test_methods_that_would_try_too_much_are_left_out():
    assert methods_for(6)[1] == {}
    found, left_out = methods_for(9)
    too_many = "weightings would take too long; likelihood and greedy need no grid"
    assert left_out == {"grid": f"3,108,105 {too_many}", "ancestor's grid": f"214,358,881 {too_many}"}
    learning = {"likelihood", "likelihood, tempered", "greedy", "stacking"}
    assert set(found) == {"hard voting", "soft voting", "geometric mean"} | learning


# Measures
def test_brier_score_and_calibration_error_by_hand():
    probabilities = np.array([[0.9, 0.1], [0.88, 0.12], [0.6, 0.4], [0.3, 0.7], [1.0, 0.0]])
    labels = np.array([0, 1, 0, 1, 0])
    expected = (2 * 0.1**2 + 2 * 0.88**2 + 2 * 0.4**2 + 2 * 0.3**2 + 0) / 5
    assert brier_score(Predictions(probabilities, labels)) == pytest.approx(expected)
    # of 15 bins 0.9 and 0.88 share one (13/15 to 14/15): half right, confidence 0.89; the others stand alone
    expected = 2 / 5 * abs(0.5 - 0.89) + (abs(1 - 0.6) + abs(1 - 0.7) + abs(1 - 1.0)) / 5
    assert calibration_error(Predictions(probabilities, labels)) == pytest.approx(expected)
    counts, _, _ = calibration_bins(Predictions(probabilities, labels))
    assert counts.tolist() == [0] * 8 + [1, 0, 1, 0, 0, 2, 1]


def test_the_temperature_is_the_best_of_a_fine_grid():
    random = np.random.default_rng(0)
    logits = random.normal(scale=2, size=(400, 5))
    labels = np.array([random.choice(5, p=row) for row in softmax(logits, axis=1)])
    sharp = softmax(3 * logits, axis=1)
    found = best_temperature(Predictions(sharp, labels))
    grid = np.exp(np.linspace(-3, 3, 2001))
    logs = np.log(np.maximum(sharp, 1e-7))
    losses = [-np.log(softmax(logs / t, axis=1)[np.arange(400), labels]).mean() for t in grid]
    assert found == pytest.approx(grid[np.argmin(losses)], rel=5e-3) and 2 < found < 4
    assert calibration_error(Predictions(tempered(sharp, found), labels)) < calibration_error(
        Predictions(sharp, labels)
    )


def test_mcnemar_by_hand():
    right = np.array([True] * 5 + [False] + [True] * 20)
    baseline = np.array([False] * 5 + [True] + [True] * 20)
    assert mcnemar(right, baseline) == pytest.approx(2 * (1 + 6) / 2**6)
    assert mcnemar(right, right) == 1.0


def test_holms_adjustment_by_hand():
    np.testing.assert_allclose(holm([0.04, 0.01, 0.03, 0.005]), [0.06, 0.03, 0.06, 0.02])
    np.testing.assert_allclose(holm([0.9, 0.6]), [1, 1])


def interval(won, lost, images):
    """The 95% interval where one alone is right on `won` images, the other alone on `lost`, and both on the rest."""
    numbers = np.arange(images)
    return gain_interval(numbers >= lost, (numbers < lost) | (numbers >= lost + won))


def test_the_interval_against_published_ones(monkeypatch):
    """Two studies, without the correction."""
    monkeypatch.setattr(significance, "CONTINUITY", 0)
    np.testing.assert_allclose(interval(1, 7, 21), [-0.517, -0.026], atol=5e-4)  # Statistics in Medicine 33, 2850
    np.testing.assert_allclose(interval(6, 16, 161), [-0.1240, -0.0054], atol=5e-5)  # R's contingencytables, cavo_2012


def test_the_interval_ends_where_the_score_test_does():
    for images in (1, 6, 40, 360):
        for won, lost in itertools.product((0, 1, 3, 10, 200), repeat=2):
            if won + lost > images:
                continue
            low, high = interval(won, lost, images)
            assert -1 <= low <= (won - lost) / images <= high <= 1
            for gain, sign in ((low, 1), (high, -1)):
                if abs(gain) == 1:
                    assert images == sign * (lost - won)
                    continue

                def loss(share, gain=gain, counts=(won, lost, images - won - lost)):  # of images lost
                    return -xlogy(counts, [share + gain, share, 1 - 2 * share - gain]).sum()

                bounds = (max(0, -gain), (1 - gain) / 2)
                share = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-12}).x
                deviation = np.sqrt(images * (2 * share + gain - gain**2))
                away = sign * (won - lost - images * gain) - 0.5
                assert away == pytest.approx(1.959964 * deviation, rel=1e-3)


@pytest.mark.parametrize(
    ("images", "won", "lost"),
    [
        *((360, *counts) for counts in [(1, 1), (1.5, 0.5), (2, 0), (3, 1), (4, 0), (5, 1), (6, 6), (20, 5)]),
        *((10_000, *counts) for counts in [(0, 2), (30, 100), (300, 350)]),
    ],
)
def test_intervals_hold_the_true_gain(images, won, lost):
    """won, lost: how many images are so on average."""
    shares = np.array([won, lost, images - won - lost]) / images
    drawn, times = np.unique(np.random.default_rng(0).multinomial(images, shares, 4000), axis=0, return_counts=True)
    held = 0
    for (own_won, own_lost, _), count in zip(drawn, times, strict=True):
        low, high = interval(own_won, own_lost, images)
        held += count * (low <= (won - lost) / images <= high)
    assert held / 4000 > 0.943  # 95% less two standard deviations of 4,000 draws
    if won + lost > 100:  # of few the shares are so coarse that it cannot be near 95%
        assert held / 4000 < 0.965


def test_what_members_have_of_each_other_by_hand():
    classes = np.array([[0, 1, 1, 0], [0, 1, 0, 1], [1, 1, 0, 0]])  # chosen by three members for four images
    probabilities = np.eye(2)[classes] * 0.8 + 0.1
    probabilities[0] = np.eye(2)[classes[0]] * 0.9 + 0.05  # the surest
    found = compare.describe_members(Predictions(probabilities, np.array([0, 1, 1, 1])), [2, 0, 1])
    assert found["disagreement"] == [[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]
    # wrong: the first on image 3, the second on 2, the third on 0, 2 and 3
    np.testing.assert_allclose(found["overlap"], [[1, 0, 1 / 3], [0, 1, 1 / 3], [1 / 3, 1 / 3, 1]])
    # all: 0 1 0 0, two right. Without the first: 0 (tie) 1 0 0 (tie), two; the second: 0 1 1 0, three; the third: 3
    assert found["leave_one_out"] == [0.0, -0.25, -0.25]
    assert found["by_number"] == [0.25, 0.75, 0.5]  # the third alone; with the first, three; all


def test_whole_weights_keep_ties():
    random = np.random.default_rng(0)
    for _ in range(50):
        probabilities = np.eye(4)[random.integers(4, size=(4, 60))]
        units = random.integers(0, 9, size=4) + np.array([1, 0, 0, 0])
        found = WeightedMean(units)(probabilities).argmax(axis=1)
        np.testing.assert_array_equal(found, np.tensordot(units, probabilities.astype(int), axes=1).argmax(axis=1))


def test_a_grid_is_left_out_by_what_it_would_take(monkeypatch):
    probabilities, labels = draw("coarse", 4, 80, 3, seed=0)
    contests = 0
    for image, label in enumerate(labels.tolist()):
        beaten = []
        for rival in range(3):
            ahead = [
                given[image, label] > given[image, rival] - (1e-9 if label < rival else 0) or label == rival
                for given in probabilities
            ]
            beaten.append("never" if not any(ahead) else "always" if all(ahead) else "sometimes")
        contests += 0 if "never" in beaten else beaten.count("sometimes")
    assert contest_count(Predictions(probabilities, labels)) == contests > 0
    monkeypatch.setattr(methods, "MOST_CONTESTS", 1771 * contests)
    assert "grid" in methods_for(4, contests)[0]
    assert "1,771 weightings" in methods_for(4, contests + 1)[1]["grid"]


# The command
def test_the_command_tells_and_records_what_it_found(run, tmp_path):
    paths, parts, labels = write_members(tmp_path, seed=5)
    done = run("ensemble/compare.py", *paths, "--out", "here")
    record = json.loads((tmp_path / "here" / "ensemble.json").read_text())
    assert list(record["methods"]) == list(methods_for(3)[0])
    soft = parts[1].astype(float).mean(axis=0)
    assert record["methods"]["soft voting"]["test"]["accuracy"] == pytest.approx((soft.argmax(1) == labels[1]).mean())
    best = max(record["members"], key=lambda member: (member["validation"]["accuracy"], -member["validation"]["loss"]))
    for name, method in record["methods"].items():
        gain = method["over_best"]
        assert gain["gain"] == pytest.approx(method["test"]["accuracy"] - best["test"]["accuracy"])
        assert gain["low"] <= gain["gain"] <= gain["high"] and 0 <= gain["p"] <= 1
        row = next(line for line in done.stdout.splitlines() if line.startswith(f"{name}  "))
        assert f"{100 * method['test']['accuracy']:.2f}" in row and f"{100 * gain['gain']:+.2f}" in row
    units, _ = search(Predictions(parts[0].astype(float), labels[0]))
    np.testing.assert_allclose(record["methods"]["grid"]["weights"], units / 20)
    assert "over_soft_voting" not in record["methods"]["soft voting"]
    row, given = record["methods"]["likelihood, tempered"], parts[1].astype(float)
    assert "weights" not in row  # which export.py would take for those of a plain mean
    powers = [np.maximum(p, 1e-7) ** (1 / t) for p, t in zip(given, row["temperatures"], strict=True)]
    mean = sum(w * p / p.sum(axis=1, keepdims=True) for w, p in zip(row["tempered_weights"], powers, strict=True))
    assert row["test"]["accuracy"] == pytest.approx((mean.argmax(axis=1) == labels[1]).mean())
    assert row["members"] == np.count_nonzero(row["tempered_weights"])
    assert (tmp_path / "here" / "ensemble.png").read_bytes().startswith(b"\x89PNG")
    before = hashlib.sha256((tmp_path / "here" / "ensemble.json").read_bytes()).hexdigest()
    again = run_script("ensemble/compare.py", *paths, "--out", "here", cwd=tmp_path)
    assert "stays as it was" in again.stdout
    assert hashlib.sha256((tmp_path / "here" / "ensemble.json").read_bytes()).hexdigest() == before


def test_without_tensorflow_there_is_no_gallery_and_no_speed(run, tmp_path, no_keras):
    paths, _, _ = write_members(tmp_path, seed=5)
    printed = run("ensemble/compare.py", *paths, "--out", "here").stdout
    assert "Without a gallery of test images" in printed and "are not measured" in printed
    assert (tmp_path / "here" / "report.html").is_file() and not (tmp_path / "here" / "missed.png").exists()


def test_too_few_validation_images_are_refused(refused, tmp_path):
    probabilities, labels = draw("random", 2, 12, 3, seed=0)
    labels[:] = np.arange(12) % 3
    paths = [write_member(tmp_path / f"m{i}" / "model.h5", p, p, (labels, labels)) for i, p in enumerate(probabilities)]
    assert "a class has 4 validation images" in refused("ensemble/compare.py", *paths)
