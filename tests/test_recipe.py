"""Recipes: YAML in and out, and what is said of a wrong one."""

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hidiff.datasets.catalog import CATALOG
from hidiff.images import Intensity
from hidiff.recipe import (
    RETIRED,
    Recipe,
    RecipeError,
    change_recipe,
    make_recipe,
    read_recipe,
    write_recipe,
)

CONTENT = {
    "name": "mine",
    "data": {"path": "images", "patch_size": [64, 96], "augmentation": {"flip_vertical": 0.5}},
    "labels": {"kind": "exclusive", "classes": {"white": [2, 5], "grey": [1]}},
    "segmentor": {"options": {"width": 8}},
    "training": {"batch_size": 4},
}
RECIPES = sorted((Path(__file__).parents[1] / "recipes").glob("*.yaml"))


def write(folder, content):
    path = folder / "recipe.yaml"
    text = content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False)
    path.write_text(text)
    return path


def refusal(content):
    with pytest.raises(RecipeError) as caught:
        make_recipe(content)
    return str(caught.value)


# In and out


def test_a_recipe_comes_back_from_yaml_and_json_as_it_was(tmp_path):
    recipe = make_recipe(CONTENT)
    write_recipe(recipe, tmp_path / "a.yaml")
    assert read_recipe(tmp_path / "a.yaml") == recipe
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe
    # the order of the classes is that of the planes
    again = read_recipe(tmp_path / "a.yaml")
    assert again.labels.plane_names == ("background", "white", "grey")


@given(
    seed=st.integers(0, 2**63),
    width=st.integers(1, 16).map(lambda n: 8 * n),
    sides=st.tuples(*[st.integers(2, 9).map(lambda n: 32 * n)] * 2),
    rate=st.floats(1e-12, 1e3),
    kind=st.sampled_from(["flip", "residual"]),
)
def test_any_recipe_comes_back_to_the_last_bit(tmp_path_factory, seed, width, sides, rate, kind):
    recipe = make_recipe(
        {
            **CONTENT,
            "seed": seed,
            "data": {"path": "ümläute und Leerzeichen", "patch_size": sides},
            "refiner": {"width": width},
            "diffusion": {"target": kind},
            "training": {"refiner_rate": rate},
        }
    )
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    write_recipe(recipe, path)
    assert read_recipe(path) == recipe


@pytest.mark.parametrize("path", RECIPES, ids=[path.stem for path in RECIPES])
def test_the_recipes_we_ship_hold(path):
    assert read_recipe(path).name


@pytest.mark.parametrize("path", RECIPES, ids=[path.stem for path in RECIPES])
def test_the_recipes_we_ship_resolve_to_the_settings_they_always_had(path):
    golden = json.loads((Path(__file__).parent / "golden" / "recipes.json").read_text())
    resolved = flatten(read_recipe(path).model_dump(mode="json"))
    assert flatten(golden[path.stem]).items() <= resolved.items()


def flatten(settings, above=""):
    """Return each setting by its whole name, with its value as text."""
    found = {}
    for name, value in settings.items():
        inner = isinstance(value, dict) and value
        found |= flatten(value, f"{above}{name}.") if inner else {above + name: repr(value)}
    return found


# What the catalog knows


def test_labels_channels_and_intensity_come_from_the_catalog_unless_the_recipe_says_them(tmp_path):
    content = {"name": "a", "data": {"source": "brats", "path": "x"}}
    recipe, entry = make_recipe(content), CATALOG["brats"]
    assert (recipe.labels, recipe.data.channels) == (entry.labels, 4)
    assert recipe.data.intensity.kind == "zscore"
    labels = {"kind": "regions", "classes": {"WT": [1, 2, 4], "ET": [4]}}
    own = {"source": "brats", "path": "x", "channels": 2, "intensity": {"kind": "percentile"}}
    recipe = make_recipe({"name": "a", "data": own, "labels": labels})
    assert (recipe.labels.class_names, recipe.data.channels) == (("WT", "ET"), 2)
    assert recipe.data.intensity.kind == "percentile"


def test_a_change_goes_into_what_the_catalog_fills_in(tmp_path):
    path = write(tmp_path, {"name": "a", "data": {"source": "kvasir_seg", "path": "x"}})
    changed = read_recipe(path, ["labels.threshold=100", "data.intensity.full_scale=65535"])
    assert (changed.labels.threshold, changed.labels.class_names) == (100, ("polyp",))
    assert changed.data.intensity == Intensity(full_scale=65535)
    other = read_recipe(path, ["data.channels=2", "data.source=acdc"])
    assert (other.labels, other.data.channels) == (CATALOG["acdc"].labels, 2)


@pytest.mark.parametrize("source", ["folder", "nnunet", "msd"])
def test_labels_that_only_the_user_knows_are_asked_for(source):
    said = refusal({"name": "a", "data": {"source": source, "path": "x"}})
    assert said == "the recipe: labels is missing, and has no default."


def test_every_setting_is_written_defaults_too(tmp_path):
    write_recipe(make_recipe(CONTENT), tmp_path / "a.yaml")
    content = yaml.safe_load((tmp_path / "a.yaml").read_text())
    assert list(content) == list(Recipe.model_fields)
    assert content["training"]["clip_norm"] == 1.0


# Changes on the command line


def test_changes_go_over_the_file(tmp_path):
    path = write(tmp_path, CONTENT)
    recipe = read_recipe(
        path,
        [
            "training.batch_size=16",
            "data.patch_size=[128, 64]",
            "refiner.precision=real",
            "data.size=null",
            "training.loss.focal=0.5",
            "labels.classes.third=[7]",
            "name=other",
        ],
    )
    assert recipe.training.batch_size == 16
    assert recipe.data.patch_size == (128, 64)
    assert recipe.refiner.precision == "real"
    assert recipe.training.loss.focal == 0.5
    assert recipe.labels.class_names == ("white", "grey", "third")
    assert recipe.name == "other"
    assert recipe.segmentor.options == {"width": 8}  # what was not named stays


def test_a_change_may_fill_a_group_that_the_file_left_empty(tmp_path):
    path = write(tmp_path, yaml.safe_dump({**CONTENT, "training": None}))
    assert read_recipe(path, ["training.batch_size=3"]).training.batch_size == 3
    assert read_recipe(path) == make_recipe({**CONTENT, "training": {}})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("training.batch_size", "wants name=value"),
        ("=4", "wants name=value"),
        ("name.first=4", "name is a value, not a group"),
        ("training.batch_size=[1", "not YAML"),
        ("training.batchsize=4", r"training.batchsize is no setting. Did you mean batch_size\?"),
        ("training.batch_size=four", "training.batch_size = 'four': Input should be a valid int"),
    ],
)
def test_a_wrong_change_is_refused(tmp_path, change, words):
    with pytest.raises(RecipeError, match=words):
        read_recipe(write(tmp_path, CONTENT), [change])


# What is said of a wrong one


@pytest.mark.parametrize(
    ("group", "wrong", "right"),
    [
        (None, "trainning", "training"),
        ("training", "batchsize", "batch_size"),
        ("training", "stage1_step", "stage1_steps"),
        ("data", "patchsize", "patch_size"),
        ("refiner", "witdh", "width"),
        ("prediction", "sample", "samples"),
        ("labels", "class", "classes"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(group, wrong, right):
    if group is None:
        content, place = {**CONTENT, wrong: 1}, wrong
    else:
        content = CONTENT | {group: {**CONTENT.get(group, {}), wrong: 1}}
        place = f"{group}.{wrong}"
    assert f"{place} is no setting. Did you mean {right}? Known here: " in refusal(content)


@pytest.mark.parametrize(
    ("group", "name", "wrong", "right"),
    [
        ("training", "loss", "focall", "focal"),
        ("data", "intensity", "knd", "kind"),
        ("data", "splitting", "fraction", "fractions"),
        ("data", "augmentation", "flip_horizontl", "flip_horizontal"),
    ],
)
def test_groups_within_groups_know_their_own_names(group, name, wrong, right):
    content = CONTENT | {group: {**CONTENT[group], name: {wrong: 1}}}
    said = refusal(content)
    assert f"{wrong} is no setting. Did you mean {right}?" in said
    assert "\n" not in said


def test_a_setting_of_several_types_has_one_line_too():
    content = CONTENT | {"data": {"path": "x", "augmentation": 3}}
    assert refusal(content).startswith("the recipe: data.augmentation = 3: ")
    assert "\n" not in refusal(content)
    content = CONTENT | {"data": {"path": "x", "augmentation": {"flip_vertical": 2}}}
    said = refusal(content)
    assert said.startswith("the recipe: data.augmentation.flip_vertical = 2: ")
    assert "\n" not in said


def test_a_name_like_no_other_is_answered_with_all():
    said = refusal({**CONTENT, "xyzzy": 1})
    assert "Did you mean" not in said
    assert all(name in said for name in Recipe.model_fields)


def test_every_wrong_setting_has_one_line_with_its_place_and_value():
    content = {
        "name": "a b",
        "data": {"path": "x", "patch_size": [60, 64], "source": "drve", "augmentation": "retna"},
        "labels": {"kind": "one_class", "classes": {"a": [1], "b": [2]}},
        "refiner": {"width": 12},
        "diffusion": {"schedule": "cosin"},
        "training": {"batch_size": "many", "stage1_steps": -1},
    }
    lines = refusal(content).splitlines()
    assert all(line.startswith("the recipe: ") for line in lines)
    for start, end in [
        ("name = 'a b'", "match pattern"),
        ("data.patch_size = [60, 64]", "multiple of 32"),
        ("data.source = 'drve'", "one of synapse"),
        ("data.augmentation = 'retna'", "one of none"),
        ("labels = ", "exactly 1"),
        ("refiner.width = 12", "multiple of 8"),
        ("diffusion.schedule = 'cosin'", "one of cosine"),
        ("training.batch_size = 'many'", "valid integer"),
        ("training.stage1_steps = -1", "greater than or equal to 0"),
    ]:
        (line,) = [line for line in lines if line.startswith(f"the recipe: {start}")]
        assert end in line
    assert len(lines) == 9


@pytest.mark.parametrize("name", RETIRED)
def test_a_retired_setting_at_its_default_is_dropped_wherever_it_comes_from(tmp_path, name):
    group, setting = name.split(".")
    default = RETIRED[name].default
    content = {**CONTENT, group: {**CONTENT.get(group, {}), setting: default}}
    plain = make_recipe(CONTENT)
    assert make_recipe(content) == plain
    assert setting in content[group]  # the caller's own settings are left as they are
    assert read_recipe(write(tmp_path, content)) == plain
    change = f"{name}={default}"
    assert (
        read_recipe(write(tmp_path, CONTENT), [change]) == change_recipe(plain, [change]) == plain
    )


@pytest.mark.parametrize(
    ("name", "value"), [("diffusion.prior_temperature", 1.5), ("training.refiner_warmup", 200)]
)
def test_a_retired_setting_with_another_value_is_refused_in_a_line(tmp_path, name, value):
    group, setting = name.split(".")
    message = refusal({**CONTENT, group: {setting: value}})
    assert message == (
        f"the recipe: {name} is {value}, but HiDiff 0.1.0 was the last version with this setting. "
        "Leave it out, or use that version."
    )
    with pytest.raises(RecipeError, match=rf"{name} is {value}, but HiDiff 0\.1\.0"):
        read_recipe(write(tmp_path, CONTENT), [f"{name}={value}"])
    two = refusal({**CONTENT, "name": "a b", group: {setting: value}}).splitlines()
    assert [line.split()[2] for line in two] == [name, "name"]


def test_no_setting_is_both_retired_and_there():
    settings = make_recipe(CONTENT).model_dump()
    for name in RETIRED:
        group, setting = name.split(".")
        assert setting not in settings[group]


def test_what_is_missing_is_named():
    said = refusal({"name": "a", "labels": CONTENT["labels"], "data": {}})
    assert said == "the recipe: data.path is missing, and has no default."


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds no settings"),
        ("- a\n- b", "holds no settings"),
        ("a: [1", "is not YAML"),
        ("name: !!python/object/apply:os.getcwd []", "is not YAML"),
        ("\x00", "is not YAML"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused_by_name(tmp_path, text, words):
    with pytest.raises(RecipeError, match=rf"recipe\.yaml {words}"):
        read_recipe(write(tmp_path, text))


def test_a_missing_or_binary_file_is_refused_by_name(tmp_path):
    with pytest.raises(RecipeError, match=r"none\.yaml does not read as a recipe"):
        read_recipe(tmp_path / "none.yaml")
    (tmp_path / "a.yaml").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(RecipeError, match=r"a\.yaml does not read as a recipe"):
        read_recipe(tmp_path / "a.yaml")


def test_a_recipe_cannot_be_changed_in_place():
    with pytest.raises(ValueError, match="frozen"):
        make_recipe(CONTENT).training.batch_size = 3
