"""`hidiff push`: a trained model to the Hugging Face hub."""

import tempfile
from typing import Annotated

import typer

from hidiff.cli.errors import Mistake
from hidiff.cli.options import ModelArgument
from hidiff.cli.say import say
from hidiff.models import hub_name, read_head


def push(
    model: ModelArgument,
    name: Annotated[
        str,
        typer.Argument(
            metavar="USER/NAME", help="Target on the hub; USER/NAME@BRANCH for a branch."
        ),
    ],
    private: Annotated[
        bool, typer.Option("--private", help="Make the repository private, if it is new.")
    ] = False,
    licence: Annotated[
        str,
        typer.Option("--licence", help="Licence of your own model's weights, such as apache-2.0."),
    ] = "",
    message: Annotated[
        str, typer.Option("--message", help="Message of the commit, in one line.")
    ] = "",
) -> None:
    """Upload a model to the Hugging Face hub: its weights, configuration and card.

    Needs the extra hub, and a token of the hub: hf auth login, or HF_TOKEN.

    [dim]hidiff push runs/drive USER/drive --licence cc-by-4.0
    hidiff predict USER/drive eyes --output masks[/dim]
    """
    where = hub_name(name)
    if where is None:
        raise Mistake(f"{name} is no name on the hub. Give USER/NAME, as in anna/drive.")
    head = read_head(model)

    from hidiff import experiment, models

    card = ""
    for shipped in models.shipped_models().values():
        if shipped.file.samefile(head.path):
            card = shipped.card.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as scratch:
        folder = experiment.save_pretrained(
            experiment.open_model(model), scratch, address=where.id, card=card, licence=licence
        )
        address = models.push(folder, where, private=private, message=message)
    say(f"wrote {address}")
    if not card:
        say("its card asks for what only you know: whose images, results and limits")
