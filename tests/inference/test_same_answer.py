"""One seed, one answer: again bit for bit; by other windows and batches on 999 pixels of 1000."""

import numpy as np
import pytest

from hidiff import build
from hidiff.data import write_synthetic
from hidiff.inference import evaluate
from hidiff.training import Budget
from tests.tiny import make_tiny


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A model of some training, and images larger than its window."""
    folder = tmp_path_factory.mktemp("same")
    write_synthetic(folder / "large", num_cases=5, size=150)
    training = {"stage1_steps": 30, "stage2_steps": 6, "batch_size": 4, "log_every": 100}
    recipe = make_tiny(folder, data={"path": str(folder / "large")}, training=training)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "count_flops", lambda *_: Budget(1, 1))
        build.train(recipe, folder / "run", cpu=True, validate=False)
    return build.load(folder / "run"), build.list_cases(recipe, "test")


def test_the_same_model_judges_the_same_cases_alike_to_the_last_digit(trained):
    predictor, cases = trained
    assert evaluate(predictor, cases, samples=2) == evaluate(predictor, cases, samples=2)


@pytest.mark.parametrize("changes", [{"windows": 1}, {"windows": 3}], ids=str)
def test_how_many_windows_go_at_once_changes_next_to_no_label(trained, changes):
    agreement(trained, changes)


@pytest.mark.parametrize("changes", [{"overlap": 0.5}, {"overlap": 0.75}], ids=str)
def test_how_an_image_is_cut_changes_next_to_no_label(trained, changes):
    agreement(trained, changes)


def agreement(trained, changes):
    predictor, (case, *_) = trained
    plain = predictor.predict(case.image, windows=8, overlap=0.25)
    other = predictor.predict(case.image, **{"windows": 8, "overlap": 0.25, **changes})
    same = np.mean(plain.labels == other.labels)
    print("AGREE", changes, same, np.mean(plain.prior_labels == other.prior_labels), plain.labels.mean())
    assert same >= 0.999
