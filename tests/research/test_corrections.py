"""The rivals of corrections by hand play by the rules, and ratios are what they are called."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from hidiff.datasets import SYNTHETIC_LABELS
from hidiff.evaluation.corrections import clicker, correct
from hidiff.marks import Click, draw_marks
from hidiff.training.steps import UNMARKED, Marked
from research.method import corrections_table
from research.method.corrections_rivals import Blend, RandomWalker, Ritm, Threshold
from tests.evaluation.test_corrections import EVERYWHERE, SIZE, random_bits
from tests.hybrid.test_model import KINDS


def maps(kind, seed):
    """An image, and probabilities that lean toward a mask."""
    draws = np.random.default_rng(seed)
    bits = random_bits(kind, seed)
    noise = draws.uniform(0.05, 1, size=bits.shape)
    probability = np.where(bits, 2 + noise, noise).astype(np.float32)
    if kind == "exclusive":
        probability /= probability.sum(axis=0)
    else:
        probability /= 3.1
    return draws.standard_normal((3, SIZE, SIZE)).astype(np.float32), probability


RIVALS = {
    "threshold": lambda image, p, labels: Threshold(p, labels),
    "blend": lambda image, p, labels: Blend(p, labels, reach=1.0),
    "random walker": lambda image, p, labels: RandomWalker(image, p, labels, 30.0, 1.0),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", RIVALS)
def test_a_rival_obeys_marks_and_without_any_leaves_the_mask(kind, name):
    labels = SYNTHETIC_LABELS[kind]
    image, probability = maps(kind, 3)
    answer, exclusive = RIVALS[name](image, probability, labels), kind == "exclusive"
    assert np.array_equal(answer([]), labels.bits(probability))
    marks = [
        Click(plane=0, point=(10, 12), radius=5),
        Click(plane=KINDS[kind] - 1, point=(30, 30), radius=4, add=False),
    ]
    drawn = draw_marks(marks, (SIZE, SIZE), (SIZE, SIZE), KINDS[kind], exclusive=exclusive)
    known = drawn.exact.numpy()
    if exclusive:  # a rival answers an addition of the true class, as the clicker makes them
        marks, known = marks[:1], known & (drawn.author.numpy() == 0)
    assert np.array_equal(answer(marks)[known], (drawn.hints.numpy() > 0)[known])


@pytest.mark.parametrize("name", RIVALS)
def test_a_rival_gets_nearer_with_marks(name):
    labels = SYNTHETIC_LABELS["one_class"]
    image, probability = maps("one_class", 3)
    y0 = random_bits("one_class", 4)
    answer = RIVALS[name](image, probability, labels)
    steps = list(correct(answer, y0, EVERYWHERE, 12, clicker(labels)))
    wrong = [(step.bits != y0).sum() for step in steps]
    assert wrong[-1] < wrong[0]


def test_the_plain_network_reads_every_input():
    torch.manual_seed(0)
    network = Ritm(3, 2).eval()
    nn.init.normal_(network.unet.final_conv.weight)
    image, prior, mask = (
        torch.rand(1, 3, 32, 32),
        torch.rand(1, 2, 32, 32),
        torch.zeros(1, 2, 32, 32),
    )
    hints = torch.zeros(1, 2, 32, 32)
    with torch.no_grad():
        first = network(image, prior, mask, UNMARKED)
        assert torch.equal(network(image, prior, mask, Marked(hints, None)), first)
        for changed in (
            (1 - image, prior, mask, UNMARKED),
            (image, 1 - prior, mask, UNMARKED),
            (image, prior, 1 - mask, UNMARKED),
            (image, prior, mask, Marked(hints + 1, None)),
            (image, prior, mask, Marked(hints - 1, None)),
        ):
            assert not torch.equal(network(*changed), first)


def test_an_error_ratio_is_paired_over_patients(tmp_path, monkeypatch):
    monkeypatch.setattr(corrections_table, "RESULTS", tmp_path)
    for name, scores in {"ours": (0.9, 0.8, 0.95), "theirs": (0.8, 0.6, 0.9)}.items():
        lines = [f"{n},{'ab'[n // 2]},{dice}" for n, dice in enumerate(scores)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["case,group,dice3", *lines]))
    ours, theirs = ({"file": f"{name}.csv", "dice": {"3": 0.8}} for name in ("ours", "theirs"))
    ratio, low, high = corrections_table.ratio_of(ours, theirs)
    # every image has half the error, so that no draw of patients has another ratio
    assert (ratio, low, high) == pytest.approx((0.5, 0.5, 0.5))
    assert corrections_table.ratio_of(ours, None) is None
    assert corrections_table.ratio_of(ours, {**theirs, "dice": {"0": 0.7}}) is None


def test_every_row_of_the_results_is_whole():
    for row in corrections_table.rows():
        assert (corrections_table.RESULTS / row["file"]).is_file(), json.dumps(row)
