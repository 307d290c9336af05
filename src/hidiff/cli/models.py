"""`hidiff models`: the trained models that come with HiDiff."""

from rich.table import Table

from hidiff.cli.say import console, say


def models() -> None:
    """List the trained models that come with HiDiff; their names work wherever a model is wanted.

    [dim]hidiff models
    hidiff predict vessels eye.jpg --output masks
    hidiff info vessels[/dim]
    """
    from hidiff.models import shipped_models

    table = Table("name", "what it segments", "trained on", "MiB", "Dice on", "Dice, 95 %")
    for name, model in shipped_models().items():
        facts = model.facts
        trained_on = f"{facts['data']['name']} ({facts['data']['licence']})"
        size = f"{facts['file']['bytes'] / 2**20:.1f}"
        for number, test in enumerate(facts["tests"]):
            head = ("", "", "", "") if number else (name, facts["title"], trained_on, size)
            table.add_row(*head, test["name"], format_dice(test))
    console.print(table)
    say("hidiff info NAME tells more. For research: none of them is a medical device.")


def format_dice(test: dict) -> str:
    """Return the refined Dice with its interval."""
    dice = test["metrics"]["dice"]["refined"]
    return f"{dice['mean']:.3f} [{dice['low']:.3f}, {dice['high']:.3f}]"
