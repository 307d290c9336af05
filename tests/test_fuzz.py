"""Whatever recipe holds trains, and whatever image comes in goes out in its size."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from hidiff import experiment
from hidiff.diffusion import NOISES, SAMPLERS, SCHEDULES
from hidiff.loading.augmentation import PRESETS
from hidiff.recipe import RecipeError
from hidiff.refiner.unet import EXCHANGES
from tests.tiny import COSTS, make_tiny, shake

share = st.sampled_from([0.0, 0.5, 1.0])
sides = st.sampled_from([64, 96])
changes = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(["one_class", "exclusive", "regions"]),
        "seed": st.integers(-(2**70), 2**70),
        "data": st.fixed_dictionaries(
            {
                "channels": st.sampled_from([1, 3]),
                "patch_size": st.tuples(sides, sides),
                "size": st.none() | st.tuples(st.integers(0, 100), st.integers(1, 100)),
                "foreground_share": share,
                "augmentation": st.sampled_from(sorted(PRESETS))
                | st.fixed_dictionaries({"affine": share, "noise": share, "gamma": share}),
                "intensity": st.sampled_from(["unit", "zscore", "percentile"]).map(
                    lambda kind: {"kind": kind}
                ),
                "cache": st.booleans(),
            }
        ),
        "refiner": st.fixed_dictionaries(
            {
                "precision": st.sampled_from(["binary", "real"]),
                "condition": st.sampled_from(["each_step", "once"]),
                "exchange": st.sampled_from(sorted(EXCHANGES)),
                "published_layout": st.booleans(),
            }
        ),
        "diffusion": st.fixed_dictionaries(
            {
                "kind": st.sampled_from(["bernoulli", "bernoulli", "gaussian"]),
                "noise": st.sampled_from(sorted(NOISES)),
                "schedule": st.sampled_from(sorted(SCHEDULES)),
                "num_steps": st.sampled_from([1, 2, 5, 20]),
                "target": st.sampled_from(["flip", "residual"]),
                "reverse": st.sampled_from(["plug_in", "marginal"]),
            }
        ),
        "training": st.fixed_dictionaries(
            {
                "arm": st.sampled_from(["hybrid", "segmentor_only"]),
                "segmentor": st.sampled_from(["trained", "joint", "frozen"]),
                "batch_size": st.integers(1, 4),
                "accumulation": st.integers(1, 2),
                "diffusion_weight": share,
                "last_step_share": share,
                "loss": st.fixed_dictionaries(
                    {name: share for name in ("kl", "focal", "cross_entropy", "soft_dice")}
                ),
                "decay_power": st.sampled_from([0.0, 0.9]),
            }
        ),
        "prediction": st.fixed_dictionaries(
            {
                "samples": st.integers(1, 2),
                "steps": st.none() | st.integers(1, 3),
                "sampler": st.sampled_from(sorted(SAMPLERS)),
                "rule": st.sampled_from(["half", "expected_dice"]),
                "mirror": st.booleans(),
                "overlap": st.sampled_from([0.0, 0.25, 0.9]),
            }
        ),
    }
)


@given(changes=changes)
@settings(max_examples=8, suppress_health_check=list(HealthCheck))
def test_every_recipe_that_holds_trains_two_steps_and_predicts(changes, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp() / "fuzz"
    changes = {**changes, "training": {**changes["training"], "stage1_steps": 1, "stage2_steps": 1}}
    try:
        recipe = make_tiny(folder, **changes)
    except RecipeError as error:
        assert len(str(error).split()) > 5  # words, and no other kind of error
        return
    run = tmp_path_factory.mktemp("run")
    experiment.train(recipe, run, cpu=True, validate=False, budget=COSTS)
    (case, *_) = experiment.list_cases(recipe, "test")
    prediction = experiment.load_predictor(run).predict(case.image)
    assert prediction.labels.shape[-2:] == (64, 64)
    assert np.isfinite(prediction.probability).all()


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    recipe = make_tiny(tmp_path_factory.mktemp("fuzz"), data={"intensity": {"kind": "zscore"}})
    return experiment.make_predictor(shake(experiment.make_hybrid(recipe)), recipe)


DTYPES = ["uint8", "uint16", "int32", "int64", "float16", "float32", "float64", "?"]
numbers = st.sampled_from(DTYPES)
shapes = st.tuples(st.integers(0, 90), st.integers(0, 90)).flatmap(
    lambda size: st.sampled_from([size, (*size, 1), (*size, 3), (*size, 4)])
)


@given(data=st.data(), kind=numbers, shape=shapes)
@settings(max_examples=15)
def test_any_array_goes_out_in_its_size_or_is_refused_in_words(predictor, data, kind, shape):
    # few different values, as drawing each of 90x90 would be slow
    few = data.draw(arrays.arrays(kind, (5,), elements=arrays.from_dtype(np.dtype(kind))))
    image = np.resize(few, shape)
    with np.errstate(over="ignore", invalid="ignore"):
        known = np.isfinite(image.astype(np.float32)).all()
    fits = image.size and image.ndim == 3 and shape[2] == 3
    try:
        prediction = predictor.predict(image, steps=1)
    except ValueError as error:  # another shape, NaN, or values on another scale
        assert "image" in str(error)
        assert not (known and fits and image.dtype == np.uint8)
        return
    assert known and fits
    assert prediction.labels.shape == shape[:2]
    for each in (prediction.probability, prediction.uncertainty, prediction.prior):
        assert each.shape[-2:] == shape[:2] and np.isfinite(each).all()
