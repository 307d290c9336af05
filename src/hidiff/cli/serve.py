"""`hidiff app` and `hidiff serve`: correct masks in the browser, and behind an API."""

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from hidiff.cli.errors import Mistake
from hidiff.cli.options import Device, DeviceOption
from hidiff.cli.say import say
from hidiff.cli.serve_options import with_serve_settings
from hidiff.extras import import_extra
from hidiff.models import find_model
from hidiff.serve.settings import ServeSettings

Output = Annotated[
    Path,
    typer.Option("--output", help="The folder for the masks of the images that are given here."),
]
Verbose = Annotated[
    bool, typer.Option("--verbose", help="Log every request to stderr, without names.")
]


@with_serve_settings
def app(
    given: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[MODEL] [INPUT]...",
            help="A model, as hidiff predict takes it, and images, volumes or folders of them to "
            "work through. Both can be left out and chosen in the browser.",
        ),
    ] = None,
    output: Output = Path("masks"),
    device: DeviceOption = Device.AUTO,
    verbose: Verbose = False,
    *,
    settings: ServeSettings,
) -> None:
    """Open images in the browser, see their masks, and correct them by hand.

    Images stay on this machine. Needs the extra app. docs/viewers.md tells more.

    [dim]hidiff app
    hidiff app vessels eye.jpg
    hidiff app runs/acdc hearts/ --output hearts_masks[/dim]
    """
    model, places = _split(given or [])
    _serve(settings, [model] if model else [], places, output, device, verbose, browse=True)


@with_serve_settings
def serve(
    inputs: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[INPUT]...", help="Images, volumes or folders of them to offer in the page."
        ),
    ] = None,
    models: Annotated[
        list[Path] | None,
        typer.Option(
            "--models",
            help="A model to offer beside those that come with HiDiff; can be repeated, the first "
            "is the default.",
        ),
    ] = None,
    output: Output = Path("masks"),
    device: DeviceOption = Device.AUTO,
    verbose: Verbose = False,
    *,
    settings: ServeSettings,
) -> None:
    """Serve masks and corrections to your own viewer (JSON), to 3D Slicer or to napari.

    Only this machine reaches it, unless --host and --token say otherwise. Needs the extra app.
    docs/viewers.md tells more.

    [dim]hidiff serve
    hidiff serve --models runs/acdc --label LV
    hidiff serve --host 0.0.0.0 --token "$TOKEN"[/dim]
    """
    _serve(settings, models or [], inputs or [], output, device, verbose, browse=False)


def _split(given: list[Path]) -> tuple[Path | None, list[Path]]:
    """Return the model, if the first argument is one, and the images."""
    if not given:
        return None, []
    try:
        find_model(given[0])
    except ValueError:
        if not given[0].exists():
            raise
        return None, given
    if given[0].is_file() and given[0].suffix != ".safetensors":
        return None, given
    return given[0], given[1:]


def _serve(
    settings: ServeSettings,
    models: list[Path],
    places: list[Path],
    output: Path,
    device: Device,
    verbose: bool,
    *,
    browse: bool,
) -> None:
    for package in ("fastapi", "uvicorn", "python_multipart", "blosc2", "filelock"):
        if find_spec(package) is None:  # not imported here: that would delay the page
            import_extra(package, "app")
    from hidiff.serve.run import run_server

    if output.exists() and not output.is_dir():
        raise Mistake(f"--output {output} is a file. Choose a folder.")
    run_server(
        settings,
        models,
        places,
        output,
        device=device.value,
        browse=browse,
        say=say,
        verbose=verbose,
    )
