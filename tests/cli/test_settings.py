"""docs/recipe.md is what `hidiff settings` prints."""

from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "recipe.md"


def test_the_page_is_up_to_date(hidiff):
    assert PAGE.read_text(encoding="utf-8") == hidiff("settings").stdout, "run make docs"
