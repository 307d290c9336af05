"""`hidiff correct`: a mask corrected by marks from a file."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hidiff.cli.errors import Mistake
from hidiff.cli.inputs import check_output, find_inputs
from hidiff.cli.marks_file import MarksFile, read_marks
from hidiff.cli.options import (
    Device,
    DeviceOption,
    ModelArgument,
    Overwrite,
    Place,
    Threads,
    choose_device,
    read_place,
    use_threads,
)
from hidiff.cli.predicting import Format, choose_formats
from hidiff.cli.prediction_options import (
    SettingChanges,
    check_steps,
    with_prediction_settings,
    with_settings,
)
from hidiff.cli.say import say
from hidiff.correction.settings import CorrectionSettings
from hidiff.models import read_head
from hidiff.prediction.endings import file_names, stems_of

if TYPE_CHECKING:
    from hidiff.correction import Session
    from hidiff.experiment import Model


@with_prediction_settings
@with_settings("corrections", CorrectionSettings, "Correction")
def correct(
    model: ModelArgument,
    image: Annotated[
        Path,
        typer.Argument(help="An image or a volume; a folder of DICOM is one volume."),
    ],
    marks: Annotated[
        Path | None,
        typer.Option(
            "--marks",
            help="A JSON file of marks in their order; docs/correction.md says what it holds.",
        ),
    ] = None,
    output: Annotated[Path, typer.Option("--output", help="The folder to write to.")] = Path(
        "masks"
    ),
    session: Annotated[
        Path | None,
        typer.Option(
            "--session",
            metavar="FILE",
            help="Save the session there; if it is there already, go on with it.",
        ),
    ] = None,
    mask: Annotated[
        Path | None,
        typer.Option("--mask", help="Start from this mask, which stays until a mark changes it."),
    ] = None,
    prior: Annotated[
        Path | None,
        typer.Option("--prior", help="Start from these probabilities, which are refined."),
    ] = None,
    at: Place = None,
    formats: Annotated[
        list[Format] | None,
        typer.Option(
            "--format", help="Format of the masks, as for hidiff predict; can be repeated."
        ),
    ] = None,
    overwrite: Overwrite = False,
    device: DeviceOption = Device.AUTO,
    threads: Threads = None,
    *,
    corrections: SettingChanges,
    changes: SettingChanges,
) -> None:
    """Correct a mask by the marks in a file: clicks, strokes, painted masks and locks.

    It writes the files that hidiff predict writes. docs/correction.md says how marks act.

    [dim]hidiff correct vessels eye.jpg --marks marks.json --output masks
    hidiff correct vessels eye.jpg --mask old_mask.png --marks marks.json
    hidiff correct runs/ct ct.nii.gz --marks marks.json --session ct.session
    hidiff correct nodules ct.nii.gz --at 212,143,87 --marks marks.json[/dim]
    """
    head = read_head(model)
    check_steps(changes, head.num_steps)
    place = read_place(at)
    _check_start(session, mask, prior, {"at": place, **changes}, corrections)
    written = None if marks is None else read_marks(marks, head.recipe.get("labels", {}))
    if written is None and session is None:
        raise Mistake("there is nothing to do: give --marks, or a --session to write.")
    given = find_inputs([image], head.channels or 1, head.source)
    if len(given) != 1:
        raise Mistake(f"{image} holds {len(given)} images, but one is corrected at a time.")
    given[0].check_whole(head.channels or 1)
    kinds = choose_formats(given[0], formats or ())
    check_output(output)
    if not overwrite and any(given[0].stem in stems_of(file_names(output), kind) for kind in kinds):
        raise FileExistsError(
            f"{output} holds a mask of {given[0].stem} already. Replace it with --overwrite, or "
            "choose another --output."
        )

    from hidiff import experiment

    use_threads(threads)
    loaded = experiment.load(model, choose_device(device))
    if loaded.notice:
        say(loaded.notice)
    if session is not None and session.exists():
        opened = experiment.open_session(session, model=loaded, image=given[0].image)
    else:
        start = {"mask": mask, "prior": prior, "name": given[0].stem, "at": place}
        opened = _start(loaded, given[0].image, corrections, {**start, **changes})
    _finish(opened, written, output, kinds, overwrite, session)


def _check_start(
    session: Path | None,
    mask: Path | None,
    prior: Path | None,
    changes: Mapping[str, Any],
    corrections: SettingChanges,
) -> None:
    """Raise Mistake for a start that cannot be."""
    if mask is not None and prior is not None:
        raise Mistake("--mask and --prior both say what to start from: leave one out.")
    for option, path in {"--mask": mask, "--prior": prior}.items():
        if path is not None and not path.exists():
            raise Mistake(f"{option} {path}: nothing lies there. Check the path.")
    if session is None or not session.exists():
        return
    named = {"mask": mask, "prior": prior, **changes, **corrections}
    given = [name for name, value in named.items() if value is not None]
    if given:
        option = f"--{given[0].replace('_', '-')}"
        raise Mistake(
            f"--session {session} is there already, with its own start and settings. Leave "
            f"{option} out, or name another file."
        )


def _start(
    model: "Model", image: Any, corrections: SettingChanges, options: dict[str, Any]
) -> "Session":
    settings = CorrectionSettings(**corrections)
    return model.correct(image, settings=settings, **options)


def _finish(
    session: "Session",
    marks: MarksFile | None,
    output: Path,
    formats: tuple[str, ...],
    overwrite: bool,
    file: Path | None,
) -> None:
    """Make the marks, and write the session and the masks."""
    before = len(session.marks)
    if marks is not None:
        marks.apply(session)
    paths = session.write(output, formats=formats, overwrite=overwrite)
    if file is not None:
        session.save(file)
        say(f"wrote {file}")
    done = len(session.marks) - before
    say(f"{done} marks are made: {', '.join(str(path) for path in paths)}")
