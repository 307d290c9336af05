"""`hidiff import-published`: a refiner's checkpoint of the paper's code becomes ours."""

import json
from pathlib import Path
from typing import Annotated

import typer

from hidiff.cli.errors import Mistake
from hidiff.cli.options import Overwrite
from hidiff.cli.say import say

FORMAT = "hidiff-refiner-1"


def import_published(
    file: Annotated[Path, typer.Argument(help="The checkpoint (.pt, .pth, .safetensors).")],
    output: Annotated[Path, typer.Option("--output", help="The .safetensors file to write.")],
    overwrite: Overwrite = False,
) -> None:
    """Import a refiner's checkpoint of the paper's code, and list what became of each tensor.

    Nothing is unpickled. From Python: [bold]hidiff.refiner.read_published(file).refiner[/bold].

    [dim]hidiff import-published model.pt --output refiner.safetensors[/dim]
    """
    if output.suffix != ".safetensors":
        raise Mistake(f"--output {output}: give a name that ends in .safetensors.")
    if output.exists() and not overwrite:
        raise FileExistsError(f"{output} exists already. Replace it with --overwrite.")
    from hidiff import weights
    from hidiff.refiner import read_published

    published = read_published(file)
    refiner = published.refiner
    tensors = refiner.state_dict()
    shape = {
        "image_channels": refiner.input.in_channels - 2 * refiner.output.out_channels,
        "num_planes": refiner.output.out_channels,
        "feature_channels": [block.conv1.in_channels for block in refiner.condition_blocks],
    }
    metadata = {
        "format": FORMAT,
        "source": file.name,
        "settings": refiner.settings.model_dump_json(),
        "shape": json.dumps(shape),
    }
    weights.save(output, tensors, metadata)
    count = sum(value.numel() for value in tensors.values())
    say(f"mapped   {len(published.mapped)} tensors of {file} to {len(tensors)} of ours")
    say(f"dropped  {len(published.dropped)}, which ours does not need")
    for name in published.dropped:
        say(f"         {name}", "dim")
    say(f"wrote    {output}: width {refiner.settings.width}, {count / 1e6:.2f} M numbers")
