"""A thousand random pairs of masks, empty ones among them, against other people's code.

Each metric against an implementation that shares no line with ours: scikit-learn, the surface
metrics of DeepMind's surface-distance, SciPy's distances of every pair of points, networkx's
matching, or sets and loops.
"""

from itertools import pairwise, product
from operator import add

import networkx as nx
import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.spatial.distance import cdist

from hidiff.metrics import (
    METRICS,
    OBJECT_METRICS,
    brier_score,
    case_metrics,
    expected_calibration_error,
    match_objects,
    object_metrics,
    rater_metrics,
    reliability,
)
from hidiff.metrics.calibration import NUM_BINS

sklearn = pytest.importorskip("sklearn.metrics", reason="scikit-learn comes with the extra dev")
from sklearn.calibration import calibration_curve  # noqa: E402

NUM_PAIRS = 1000
SHAPES = [(8, 9), (6, 7, 5)]
SPACINGS = {2: [None, (0.5, 2.0)], 3: [None, (2.5, 0.8, 1.1)]}


def random_pairs(count=NUM_PAIRS, shapes=SHAPES, seed=0):
    """Masks from empty to full, alike and not, of the shapes in turn; locked against writing."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        shape = shapes[number % len(shapes)]
        densities = rng.choice([0.0, 0.02, 0.1, 0.4, 0.8, 1.0], 2, p=[0.1, 0.2, 0.2, 0.2, 0.2, 0.1])
        predicted, truth = (rng.random(shape) < density for density in densities)
        if rng.random() < 0.3:
            predicted = truth ^ (rng.random(shape) < 0.05)
        predicted.flags.writeable = truth.flags.writeable = False
        yield predicted, truth


def diagonal(shape, spacing):
    return sum((n * side) ** 2 for n, side in zip(shape, spacing, strict=True)) ** 0.5


def rule_for_empties(predicted, truth, spacing):
    """Return the value that METRICS gives, or None if both masks hold a pixel."""
    if not predicted.any() and not truth.any():
        return {name: metric.both_empty for name, metric in METRICS.items()}
    if not predicted.any() or not truth.any():
        worst = diagonal(truth.shape, spacing)
        return {n: worst if m.one_empty is None else m.one_empty for n, m in METRICS.items()}
    return None


def surface_of(mask, spacing):
    """Surface points in mm, found by looking at each pixel's 4 (6) neighbours in turn."""
    padded, core = np.pad(mask, 1), (slice(1, -1),) * mask.ndim
    inner = np.ones(mask.shape, bool)
    for axis, step in product(range(mask.ndim), (-1, 1)):
        inner &= np.roll(padded, step, axis)[core]
    return np.argwhere(mask & ~inner) * spacing


@pytest.mark.parametrize("shape", SHAPES)
def test_overlap_equals_scikit_learn(shape):
    predicted, truth = (
        np.stack(masks) for masks in zip(*random_pairs(shapes=[shape]), strict=True)
    )
    ours = [case_metrics(*pair) for pair in zip(predicted, truth, strict=True)]
    both_empty = ~(predicted | truth).reshape(len(truth), -1).any(axis=1)
    columns = [masks.reshape(len(masks), -1).T for masks in (truth, predicted)]
    for name, score in {
        "dice": sklearn.f1_score,
        "iou": sklearn.jaccard_score,
        "sensitivity": sklearn.recall_score,
        "precision": sklearn.precision_score,
    }.items():
        theirs = score(*columns, average=None, zero_division=0.0)  # a column is a pair
        wanted = np.where(both_empty, METRICS[name].both_empty, theirs)
        assert [each[name] for each in ours] == pytest.approx(wanted, abs=1e-12)


def test_distances_equal_every_pair_of_surface_points():
    for number, (predicted, truth) in enumerate(random_pairs()):
        given = SPACINGS[truth.ndim][number // 2 % 2]
        spacing = given or (1.0,) * truth.ndim
        ours = case_metrics(predicted, truth, spacing=given, tolerance=1.3)
        wanted = rule_for_empties(predicted, truth, spacing)
        if wanted is None:
            pairs = cdist(surface_of(predicted, spacing), surface_of(truth, spacing))
            there, back = pairs.min(axis=1), pairs.min(axis=0)
            both = np.append(there, back)
            wanted = {
                "hd95": max(np.percentile(there, 95), np.percentile(back, 95)),
                "assd": both.mean(),
                "surface_dice": (both <= 1.3).mean(),
            }
        assert {name: ours[name] for name in wanted} == pytest.approx(wanted, abs=1e-9)


def test_surface_metrics_equal_the_package_surface_distance():
    # Its surface elements have areas and lie at the corners of pixels; ours are pixels. So it gets
    # our surfaces, every pixel of area 1, and says what follows from them.
    theirs = pytest.importorskip("surface_distance", reason="it comes with the extra dev")
    for predicted, truth in random_pairs():
        if not predicted.any() or not truth.any():
            continue
        spacing = SPACINGS[truth.ndim][1]
        pairs = cdist(surface_of(truth, spacing), surface_of(predicted, spacing))
        there, back = np.sort(pairs.min(axis=1)), np.sort(pairs.min(axis=0))
        found = {
            "distances_gt_to_pred": there,
            "distances_pred_to_gt": back,
            "surfel_areas_gt": np.ones(len(there)),
            "surfel_areas_pred": np.ones(len(back)),
        }
        ours = case_metrics(predicted, truth, spacing=spacing, tolerance=1.3)
        means = theirs.compute_average_surface_distance(found)
        assert ours["assd"] == pytest.approx(np.average(means, weights=[len(there), len(back)]))
        surface_dice = theirs.compute_surface_dice_at_tolerance(found, 1.3)
        assert ours["surface_dice"] == pytest.approx(surface_dice)
        assert ours["dice"] == pytest.approx(theirs.compute_dice_coefficient(truth, predicted))


def test_calibration_equals_scikit_learn():
    rng = np.random.default_rng(0)
    for number, (_, truth) in enumerate(random_pairs()):
        p = rng.random(truth.shape) if number % 2 else rng.beta(0.2, 0.5, truth.shape)
        p = p.astype(np.float32)
        inside = rng.random(truth.shape) < 0.9
        inside.flat[0] = True
        y, flat = truth[inside], p[inside]
        brier = brier_score(p[None], truth[None], inside)
        assert brier[0] == pytest.approx(np.square(flat - y).mean(), abs=1e-6)
        if number % 10 == 0 and y.any() and not y.all():
            assert brier[0] == pytest.approx(sklearn.brier_score_loss(y, flat), abs=1e-6)
        share, said = calibration_curve(y, flat.astype(float), n_bins=NUM_BINS)
        (curve,) = reliability(p[None], truth[None], inside)
        points = list(curve.points())
        assert [point[2] for point in points] == pytest.approx(list(said))
        assert [point[3] for point in points] == pytest.approx(list(share))
        counts, _ = np.histogram(flat.astype(float), NUM_BINS, (0, 1))
        assert [point[1] for point in points] == counts[counts > 0].tolist()
        error = np.average(np.abs(share - said), weights=counts[counts > 0])
        assert expected_calibration_error(p[None], truth[None], inside)[0] == pytest.approx(error)


def components(mask):
    """Objects as sets of pixels: from a pixel to all that touch it, and on from those."""
    left = {tuple(place) for place in np.argwhere(mask).tolist()}
    steps = list(product((-1, 0, 1), repeat=mask.ndim))
    found = []
    while left:
        edge = [left.pop()]
        each = set(edge)
        while edge:
            place = edge.pop()
            near = {tuple(map(add, place, step)) for step in steps} & left
            left -= near
            each |= near
            edge += near
        found.append(frozenset(each))
    return found


def partners(wanted, found, min_iou):
    """Count the objects of the truth, and of the prediction, that have a partner."""
    pairs = nx.Graph()
    for (i, a), (j, b) in product(enumerate(wanted), enumerate(found)):
        if a & b and (min_iou is None or len(a & b) / len(a | b) > min_iou):
            pairs.add_edge(("truth", i), ("found", j))
    if min_iou is not None:
        tops = {node for node in pairs if node[0] == "truth"}
        pairs = nx.bipartite.hopcroft_karp_matching(pairs, tops)
    sides = [node[0] for node in pairs]
    return sides.count("truth"), sides.count("found")


def test_objects_equal_sets_of_linked_pixels():
    for predicted, truth in random_pairs(shapes=[(7, 8), (3, 4, 5)]):
        wanted, found = components(truth), components(predicted)
        for min_iou in (None, 0.1, 0.5):
            ours = match_objects(predicted, truth, min_iou=min_iou)
            assert (len(ours.found), len(ours.right)) == (len(wanted), len(found))
            num_found, num_right = partners(wanted, found, min_iou)
            assert (ours.found.sum(), ours.right.sum()) == (num_found, num_right)
        drawn = [frozenset().union(*(b for b in found if a & b)) for a in wanted]
        pairs = zip(wanted, drawn, strict=True)
        theirs = sorted((len(a), 2 * len(a & d) / (len(a) + len(d))) for a, d in pairs)
        assert sorted(zip(ours.size, ours.dice, strict=True)) == [
            pytest.approx(each) for each in theirs
        ]
        metrics = object_metrics(match_objects(predicted, truth))
        if wanted and found:
            num_found, num_right = partners(wanted, found, None)
            recall, precision = num_found / len(wanted), num_right / len(found)
            f1 = 2 / (1 / recall + 1 / precision) if recall else 0.0
            dice = sum(each[1] for each in theirs) / len(wanted)
            assert list(metrics.values()) == pytest.approx([f1, recall, precision, dice])
        else:
            assert metrics == dict.fromkeys(OBJECT_METRICS, float(not wanted and not found))


def distance(a, b):
    """1 - IoU of two sets of pixels; 0 for two empty ones."""
    return 1 - len(a & b) / len(a | b) if a | b else 0.0


def transport(costs):
    """The cheapest way to carry equal shares of n samples to equal shares of r raters."""
    n, r = costs.shape
    rows, columns = np.kron(np.eye(n), np.ones(r)), np.kron(np.ones(n), np.eye(r))
    shares = [1 / n] * n + [1 / r] * r
    return linprog(costs.ravel(), A_eq=np.vstack([rows, columns]), b_eq=shares).fun


def test_raters_equal_loops_over_sets_and_optimal_transport():
    masks = [mask for pair in random_pairs(NUM_PAIRS, [(4, 5)]) for mask in pair]
    rng = np.random.default_rng(0)
    ends = np.cumsum(rng.integers(1, 6, 400))
    groups = [np.stack(masks[a:b]) for a, b in pairwise(ends) if b <= len(masks)]
    for number, (samples, raters) in enumerate(pairwise(groups)):
        left, right = ([set(np.flatnonzero(mask)) for mask in group] for group in (samples, raters))
        costs = np.array([[distance(a, b) for b in right] for a in left])
        spread = [np.mean([distance(a, b) for a in g for b in g]) for g in (left, right)]
        ours = rater_metrics(samples, raters)
        assert ours["ged"] == pytest.approx(2 * costs.mean() - sum(spread), abs=1e-9)
        if number % 4 == 0:  # the slow one
            assert ours["matched_iou"] == pytest.approx(1 - transport(costs), abs=1e-6)
