"""`hidiff data list` and `prepare`, and the page made from the same table."""

import json
from pathlib import Path

from tests import official

ROOT = Path(__file__).parents[2]


def test_the_list_names_every_set_with_its_terms(hidiff):
    from hidiff.datasets import CATALOG

    result = hidiff("data", "list", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found.keys() == CATALOG.keys()
    assert all(each["terms"] and each["layout"] and each["split"] for each in found.values())
    assert found["acdc"]["labels"]["classes"]["MYO"] == [2]
    assert hidiff("data", "list").exit_code == 0


def test_every_recipe_of_the_catalog_is_there_and_agrees_with_it(hidiff):
    from hidiff.cli.recipes import shipped_recipes
    from hidiff.datasets import CATALOG
    from hidiff.recipe import read_recipe

    for name, entry in CATALOG.items():
        if not entry.recipe or entry.labels is None:
            continue
        recipe = read_recipe(shipped_recipes()[entry.recipe])
        assert recipe.data.source == name
        assert recipe.data.channels == entry.channels
        assert recipe.data.intensity == entry.intensity
        assert recipe.labels.class_names == entry.labels.class_names


def test_the_page_is_what_the_command_writes(hidiff):
    page = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    assert hidiff("data", "list", "--markdown").stdout == page


def test_a_prepared_set_is_counted_and_its_next_command_told(hidiff, tmp_path):
    official.lidc(tmp_path / "download")
    words = ("data", "prepare", "lidc", tmp_path / "download", "--output", tmp_path / "ready")
    result = hidiff(*words)
    assert result.exit_code == 0, result.output
    assert "cases: 20, but the whole set holds 1340" in result.stdout
    assert f"hidiff train lidc --set data.path={tmp_path / 'ready'}" in result.stdout
    assert "Nothing was written" in hidiff(*words).stdout


def test_an_unknown_set_is_refused_with_those_that_there_are(hidiff, tmp_path):
    result = hidiff("data", "prepare", "lidcc", tmp_path)
    assert result.exit_code == 2
    assert "'lidcc' is not known, but one of synapse" in result.stderr
