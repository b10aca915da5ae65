"""The ways to combine the members of an ensemble, all in one form, so that they can be compared.

A method is a function of the members' Predictions for the validation images, with probabilities (members, n, classes),
and of the number of each image's fold, int64 (n,). It returns a function that combines probabilities of the same
members on any images into those of the ensemble, float64 (n, classes); and what it gives the validation images
themselves, each learnt without the fold that the image is in, so that it does not flatter.
"""

import math

import numpy as np
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from ensemble.combining.likelihood import likelihood_weights
from ensemble.combining.metrics import best_temperature, log_probabilities
from ensemble.combining.predictions import Predictions
from ensemble.combining.rule import at_temperatures, side_by_side
from ensemble.combining.votes import geometric_mean, soft_voting, votes
from ensemble.combining.weight_grid import (
    MOST_CONTESTS,
    MOST_WEIGHTINGS,
    STEP,
    correct_counts,
    most_equal,
    steps_in_one,
    weightings,
)
from ensemble.common.command import refuse

ROUNDS = 50  # of greedy selection
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # of stacking: scikit-learn's C, of which cross-validation chooses one
FOLDS = 5


def make_folds(labels):
    """Return the number of each image's fold, int64 (n,): of every class about as many in each."""
    folds = np.empty(len(labels), np.int64)
    for number, (_, images) in enumerate(StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(labels, labels)):
        folds[images] = number
    return folds


def refuse_small_classes(labels, classes, mend):
    """Refuse validation images, by their labels, int64 (n,), if one of the classes has too few to be in every fold."""
    fewest = np.bincount(labels, minlength=classes).min()
    if fewest < FOLDS:
        refuse(f"a class has {fewest} validation images; cross-validation needs {FOLDS} of each: {mend}")


def without_fold(learn, predictions, folds):
    """Return what learn(predictions) gives each image when it learnt from the other folds, float64 (n, classes)."""
    outputs = np.empty(predictions.probabilities.shape[1:])
    for fold in range(folds.max() + 1):
        own = folds == fold
        outputs[own] = learn(predictions.of(~own))(predictions.of(own).probabilities)
    return outputs


class WeightedMean:
    """Combines by a mean with weights from 0 up, which it scales to sum to 1: `weights`, float64 (members,)."""

    def __init__(self, given):
        self.given = given.astype(np.float64)  # sums of whole numbers of probabilities are exact: see load_members
        self.weights = self.given / self.given.sum()

    def __call__(self, probabilities):
        return np.tensordot(self.given, probabilities, axes=1) / self.given.sum()


class TemperedMean:
    """Combines by the weights of greatest likelihood, after each member's temperature, both learnt on these images.

    `temperatures` and `weights`, float64 (members,). Without temperatures, likelihood prefers members that are as
    sure as they are right to others that are right more often.
    """

    def __init__(self, predictions):
        each = [Predictions(member, predictions.labels) for member in predictions.probabilities]
        self.temperatures = np.array([best_temperature(member) for member in each])
        cooled = at_temperatures(predictions.probabilities, self.temperatures)
        self.weights = likelihood_weights(Predictions(cooled, predictions.labels))

    def __call__(self, probabilities):
        return WeightedMean(self.weights)(at_temperatures(probabilities, self.temperatures))


def fixed(combine):
    """Return the method that combines by this function, whatever the validation images are."""
    return lambda predictions, folds: (combine, combine(predictions.probabilities))


class StackedRegression:
    """Combines by multinomial logistic regression on all members' log-probabilities, one member after the other.

    Gives softmax(log-probabilities @ kernel + bias); kernel: float64 (members * classes, classes), bias: (classes,).
    """

    def __init__(self, predictions, penalty):
        regression = LogisticRegression(C=penalty, max_iter=1000, tol=1e-3)
        model = make_pipeline(StandardScaler(), regression)
        model.fit(side_by_side(predictions.probabilities), predictions.labels)
        scaler, (coefficients, intercepts) = model[0], (regression.coef_, regression.intercept_)
        if len(coefficients) == 1:  # of two classes, the second's alone; the first's are 0
            coefficients, intercepts = (np.concatenate([0 * own, own]) for own in (coefficients, intercepts))
        self.kernel = (coefficients / scaler.scale_).T
        self.bias = intercepts - scaler.mean_ @ self.kernel

    def __call__(self, probabilities):
        return softmax(side_by_side(probabilities) @ self.kernel + self.bias, axis=1)


# Methods that choose weights
def best_of(units, choose):
    """Return the method that takes the most accurate of the weightings, int64 (ways, members).

    choose: takes those that are equally accurate, and returns one.
    """

    def method(predictions, folds):
        correct = correct_counts(predictions, units, folds)

        def winner(correct):
            return WeightedMean(choose(units[correct == correct.max()]))

        outputs = np.empty(predictions.probabilities.shape[1:])
        for fold in range(folds.max() + 1):
            own = folds == fold
            outputs[own] = winner(correct.sum(axis=1) - correct[:, fold])(predictions.of(own).probabilities)
        return winner(correct.sum(axis=1)), outputs

    return method


def ancestors_weightings(members):
    """Return the weightings that zytx121/keras_ensemble_cifar10 tries, in tenths, int64 (ways, members).

    Every member but the last is given 0, 0.1, ..., 1, and the last what is left of members - 1; so it counts for more.
    """
    others = np.stack(np.meshgrid(*[np.arange(11)] * (members - 1), indexing="ij"), axis=-1).reshape(-1, members - 1)
    return np.column_stack([others, 10 * (members - 1) - others.sum(axis=1)])


def greedy_counts(predictions):
    """Return how often greedy selection takes each member, int64 (members,).

    Caruana, Niculescu-Mizil, Crew and Ksikes 2004: from nothing, ROUNDS times the member is added, any number of
    times, that makes the mean of those taken most accurate (of equally accurate ones, the one of the least loss); what
    counts is the shortest of the most accurate ensembles on the way.
    """
    members = predictions.probabilities
    total = np.zeros(members.shape[1:])
    taken, best = [], (-1.0, 0)
    for size in range(1, ROUNDS + 1):
        means = [Predictions((total + member) / size, predictions.labels) for member in members]
        merits = [(mean.right.mean(), log_probabilities(mean.given).mean()) for mean in means]
        choice = max(range(len(means)), key=merits.__getitem__)
        total += members[choice]
        taken.append(choice)
        if merits[choice][0] > best[0]:
            best = merits[choice][0], size
    return np.bincount(taken[: best[1]], minlength=len(members))


def learnt(learn):
    """Return the method that combines by the function that learn(predictions) returns."""
    return lambda predictions, folds: (learn(predictions), without_fold(learn, predictions, folds))


def weighted(choose):
    """Return the method that takes the mean with the weights that choose(predictions) gives, (members,)."""
    return learnt(lambda predictions: WeightedMean(choose(predictions)))


@threadpool_limits.wrap(limits=1)  # threads that wait for each other make so small a problem many times slower
def stacking(predictions, folds):
    """The method that stacks (Wolpert 1992): multinomial logistic regression on all members' log-probabilities.

    Of the PENALTIES that one is taken that gives the least loss to images that were not learnt from: to all folds in
    turn; or, for the outputs of a fold, to the next fold, learning from the others.
    """

    def loss(penalty, images, others):
        some = predictions.of(others)
        outputs = StackedRegression(predictions.of(images), penalty)(some.probabilities)
        return -log_probabilities(Predictions(outputs, some.labels).given).sum()

    count = folds.max() + 1
    outputs, losses = np.empty(predictions.probabilities.shape[1:]), np.zeros(len(PENALTIES))
    for fold in range(count):
        own, following = folds == fold, folds == (fold + 1) % count
        losses += [loss(penalty, ~own, own) for penalty in PENALTIES]
        best = min(PENALTIES, key=lambda penalty: loss(penalty, ~(own | following), following))
        outputs[own] = StackedRegression(predictions.of(~own), best)(predictions.of(own).probabilities)
    return StackedRegression(predictions, PENALTIES[losses.argmin()]), outputs


def methods_for(members, contests=0):
    """Return {name: method} for this many members, and {name: why} of those that would take too long.

    contests: see contest_count; what a weighting of a grid costs.
    """
    steps = steps_in_one(STEP)
    ways = {"grid": math.comb(steps + members - 1, members - 1), "ancestor's grid": 11 ** (members - 1)}
    left_out = {
        name: f"{count:,} weightings would take too long; likelihood and greedy need no grid"
        for name, count in ways.items()
        if count > MOST_WEIGHTINGS or count * contests > MOST_CONTESTS
    }
    methods = {"hard voting": fixed(votes), "soft voting": fixed(soft_voting), "geometric mean": fixed(geometric_mean)}
    if "grid" not in left_out:
        methods["grid"] = best_of(weightings(members, steps), most_equal)
    if "ancestor's grid" not in left_out:
        methods["ancestor's grid"] = best_of(ancestors_weightings(members), lambda units: units[0])
    methods |= {"likelihood": weighted(likelihood_weights), "likelihood, tempered": learnt(TemperedMean)}
    return methods | {"greedy": weighted(greedy_counts), "stacking": stacking}, left_out
