"""The ways to combine the members of an ensemble, all in one form, so that they can be compared.

A method is a function of the members' probabilities on the validation images, float64 (members, n, classes), the
labels, int64 (n,), and the number of each image's fold, int64 (n,). It returns a function that combines probabilities
of the same members on any images into those of the ensemble, float64 (n, classes); and what it gives the validation
images themselves, each learnt without the fold that the image is in, so that it does not flatter.
"""

import math

import numpy as np
from measures import LEAST, best_temperature, log_probabilities, tempered
from members import refuse
from scipy.linalg import solve_triangular
from scipy.optimize import nnls
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits
from voting import hard_voting, soft_voting
from weighted_mean import MOST_CONTESTS, MOST_WEIGHTINGS, STEP, correct_counts, most_equal, steps_in_one, weightings

GAP = 1e-9  # nats per image that the likelihood weights may be from the best
MOST_STEPS = 100  # of the search for them; the hardest known case takes 25
ROUNDS = 50  # of greedy selection
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # of stacking: scikit-learn's C, of which cross-validation chooses one
FOLDS = 5


def make_folds(labels):
    """Return the number of each image's fold, int64 (n,): of every class about as many in each."""
    folds = np.empty(len(labels), np.int64)
    for number, (_, images) in enumerate(StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(labels, labels)):
        folds[images] = number
    return folds


def without_fold(learn, probabilities, labels, folds):
    """Return what learn(probabilities, labels) gives each image when it learnt from the other folds, (n, classes)."""
    outputs = np.empty(probabilities.shape[1:])
    for fold in range(folds.max() + 1):
        rest = folds != fold
        outputs[~rest] = learn(probabilities[:, rest], labels[rest])(probabilities[:, ~rest])
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

    def __init__(self, probabilities, labels):
        self.temperatures = np.array([best_temperature(member, labels) for member in probabilities])
        self.weights = likelihood_weights(self.at_temperatures(probabilities), labels)

    def at_temperatures(self, probabilities):
        """Return the members' probabilities, float64 (members, n, classes), each at its temperature."""
        return np.stack([tempered(*pair) for pair in zip(probabilities, self.temperatures, strict=True)])

    def __call__(self, probabilities):
        return WeightedMean(self.weights)(self.at_temperatures(probabilities))


# Methods that learn nothing
def votes(probabilities):
    """Return the winners of hard voting as probabilities of 1, float64 (n, classes)."""
    return np.eye(probabilities.shape[2])[hard_voting(probabilities)]


def geometric_mean(probabilities):
    """Return the members' geometric mean, scaled to sum to 1, float64 (n, classes): the logarithmic opinion pool."""
    return softmax(log_probabilities(probabilities).mean(axis=0), axis=1)


def fixed(combine):
    """Return the method that combines by this function, whatever the validation images are."""
    return lambda probabilities, labels, folds: (combine, combine(probabilities))


# Methods that choose weights
def best_of(units, choose):
    """Return the method that takes the most accurate of the weightings, int64 (ways, members).

    choose: takes those that are equally accurate, and returns one.
    """

    def method(probabilities, labels, folds):
        correct = correct_counts(probabilities, labels, units, folds)

        def winner(correct):
            return WeightedMean(choose(units[correct == correct.max()]))

        outputs = np.empty(probabilities.shape[1:])
        for fold in range(folds.max() + 1):
            own = folds == fold
            outputs[own] = winner(correct.sum(axis=1) - correct[:, fold])(probabilities[:, own])
        return winner(correct.sum(axis=1)), outputs

    return method


def ancestors_weightings(members):
    """Return the weightings that zytx121/keras_ensemble_cifar10 tries, in tenths, int64 (ways, members).

    Every member but the last is given 0, 0.1, ..., 1, and the last what is left of members - 1; so it counts for more.
    """
    others = np.stack(np.meshgrid(*[np.arange(11)] * (members - 1), indexing="ij"), axis=-1).reshape(-1, members - 1)
    return np.column_stack([others, 10 * (members - 1) - others.sum(axis=1)])


def duality_gap(weights, probabilities, labels):
    """Return the nats per image that weights, float (members,) of sum 1, can lack to the greatest likelihood at most.

    With p[m] being what member m gives the label, and r[m] = p[m] / (w . p): max over m of mean(r[m]) - 1.
    """
    given = np.maximum(probabilities[:, np.arange(len(labels)), labels], LEAST)
    return float(max(0.0, (given / (weights @ given)).mean(axis=1).max() - 1))


def likelihood_weights(probabilities, labels):
    """Return the weights of greatest likelihood, float64 (members,).

    Maximises the mean of log(sum over m of w[m] * p[m]), p[m] being what member m gives the label, over weights that
    are not negative and sum to 1: a concave problem. The duality gap is brought below GAP, or the command refused.

    Solved by sequential quadratic programming, each step a least-squares problem with weights from 0 up (Kim,
    Carbonetto, Stephens and Anitescu, arXiv 1806.01412): leaving out that they sum to 1, and adding their sum to the
    loss, gives the same minimum. A step stays near the weights where the curvature says nothing, as for members that
    give the labels the same.
    """
    given = np.maximum(probabilities[:, np.arange(len(labels)), labels], LEAST).T  # (n, members)
    count = given.shape[1]
    weights = np.full(count, 1 / count)

    def loss(weights):
        return weights.sum() - np.log(np.maximum(given @ weights, 1e-300)).mean()

    for _ in range(MOST_STEPS):
        ratios = given / (given @ weights)[:, np.newaxis]
        slopes = ratios.mean(axis=0)
        gap = slopes.max() - 1
        if gap <= GAP:
            return weights
        curvature = ratios.T @ ratios / len(ratios)
        ridge = 1e-10 * np.trace(curvature)
        lower = np.linalg.cholesky(curvature + ridge * np.eye(count))
        target = nnls(lower.T, solve_triangular(lower, 2 * slopes - 1 + ridge * weights, lower=True))[0]
        length, before = 1.0, loss(weights)
        while loss(weights + length * (target - weights)) > before + 1e-14:  # more than rounding
            length /= 2
        weights = weights + length * (target - weights)
        weights = weights / weights.sum()
    refuse(
        f"after {MOST_STEPS} steps the likelihood weights may be {gap:.0e} nats per image from the best, more than the "
        f"{GAP:.0e} promised; leave out a member that gives labels almost nothing"
    )


def greedy_counts(probabilities, labels):
    """Return how often greedy selection takes each member, int64 (members,).

    Caruana, Niculescu-Mizil, Crew and Ksikes 2004: from nothing, ROUNDS times the member is added, any number of
    times, that makes the mean of those taken most accurate (of equally accurate ones, the one of the least loss); what
    counts is the shortest of the most accurate ensembles on the way.
    """
    images = np.arange(len(labels))
    total = np.zeros(probabilities.shape[1:])
    taken, best = [], (-1.0, 0)
    for size in range(1, ROUNDS + 1):
        means = [(total + member) / size for member in probabilities]
        merits = [
            ((mean.argmax(axis=1) == labels).mean(), log_probabilities(mean[images, labels]).mean()) for mean in means
        ]
        choice = max(range(len(means)), key=merits.__getitem__)
        total += probabilities[choice]
        taken.append(choice)
        if merits[choice][0] > best[0]:
            best = merits[choice][0], size
    return np.bincount(taken[: best[1]], minlength=len(probabilities))


def learnt(learn):
    """Return the method that combines by the function that learn(probabilities, labels) returns."""
    return lambda *given: (learn(*given[:2]), without_fold(learn, *given))


def weighted(choose):
    """Return the method that takes the mean with the weights that choose(probabilities, labels) gives, (members,)."""
    return learnt(lambda probabilities, labels: WeightedMean(choose(probabilities, labels)))


@threadpool_limits.wrap(limits=1)  # threads that wait for each other make so small a problem many times slower
def stacking(probabilities, labels, folds):
    """The method that stacks (Wolpert 1992): multinomial logistic regression on all members' log-probabilities.

    Of the PENALTIES that one is taken that gives the least loss to images that were not learnt from: to all folds in
    turn; or, for the outputs of a fold, to the next fold, learning from the others.
    """

    def learn(penalty, images):
        regression = LogisticRegression(C=penalty, max_iter=1000, tol=1e-3)
        model = make_pipeline(StandardScaler(), regression).fit(features(probabilities[:, images]), labels[images])
        return lambda probabilities: model.predict_proba(features(probabilities))

    def features(probabilities):
        return np.concatenate(log_probabilities(probabilities), axis=1)

    def loss(penalty, images, others):
        given = learn(penalty, images)(probabilities[:, others])
        return -log_probabilities(given[np.arange(len(given)), labels[others]]).sum()

    count = folds.max() + 1
    outputs, losses = np.empty(probabilities.shape[1:]), np.zeros(len(PENALTIES))
    for fold in range(count):
        own, following = folds == fold, folds == (fold + 1) % count
        losses += [loss(penalty, ~own, own) for penalty in PENALTIES]
        best = min(PENALTIES, key=lambda penalty: loss(penalty, ~(own | following), following))
        outputs[own] = learn(best, ~own)(probabilities[:, own])
    return learn(PENALTIES[losses.argmin()], slice(None)), outputs


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
