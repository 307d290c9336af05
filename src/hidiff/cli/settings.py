"""`hidiff settings`: every setting of a recipe, as docs/recipe.md has them."""

import typer


def settings() -> None:
    """List every setting of a recipe with its default and its meaning, as Markdown."""
    from hidiff.cli.settings_page import settings_page

    typer.echo(settings_page(), nl=False)
