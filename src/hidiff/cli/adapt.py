"""`hidiff adapt`: a refiner behind another model's results, and what it gains."""

import shlex
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hidiff.cli.options import Changes, Device, DeviceOption, Overwrite, Threads, use_threads
from hidiff.cli.say import say
from hidiff.models import MODELS

if TYPE_CHECKING:
    from hidiff.evaluation.gain import Gain
    from hidiff.experiment import Experiment
    from hidiff.experiment.adapting import Collected, Folders
    from hidiff.recipe import Recipe


class PriorKind(StrEnum):
    """Kinds of another model's results."""

    PROBABILITY = "probability"
    MASK = "mask"


def adapt(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="IMAGES MASKS PRIORS",
            help="Three folders, with files of the same names; or one that holds images/, masks/ "
            "and priors/. PRIORS are another model's results for the images: a folder of nnU-Net's "
            "predictions, or of a model that it trained (its folds), or probability or label maps.",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", help="The run goes to OUTPUT/NAME.")] = Path(
        "runs"
    ),
    name: Annotated[
        str | None,
        typer.Option(
            "--name",
            help="Name of the run; left out: that of the folder that holds the images' folder, "
            "with _adapted.",
        ),
    ] = None,
    kind: Annotated[
        PriorKind | None,
        typer.Option(
            "--kind",
            help="Kind of the priors: probabilities, or hard masks; left out: found from their "
            "values.",
        ),
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(
            "--group",
            metavar="PATTERN",
            help="A regular expression with one (group) that finds the patient in a file's name, "
            "such as '^(case[0-9]+)_'. Left out: patients are proposed from the names.",
        ),
    ] = None,
    held_out: Annotated[
        float,
        typer.Option(
            "--held-out", min=0.05, max=0.5, help="Share of the patients that test the gain."
        ),
    ] = 0.25,
    changes: Changes = None,
    recipe_only: Annotated[
        bool, typer.Option("--recipe-only", help="Check everything, write the recipe, and stop.")
    ] = False,
    overwrite: Overwrite = False,
    device: DeviceOption = Device.AUTO,
    threads: Threads = None,
) -> None:
    """Train a refiner behind another model's results, and test what it gains on held-out patients.

    The other model is not needed, only its results for images that it was not trained on. At least
    8 patients are needed.

    [dim]hidiff adapt images/ masks/ predictions/
    hidiff adapt nnUNet_raw/Dataset027_ACDC/imagesTr nnUNet_raw/Dataset027_ACDC/labelsTr \
nnUNet_results/Dataset027_ACDC/nnUNetTrainer__nnUNetPlans__3d_fullres
    hidiff adapt mine --kind mask --set training.stage2_steps=500[/dim]
    """
    from hidiff.experiment.adapting import collect, find_three

    use_threads(threads)
    three = find_three(folders)
    name = name or _name_of(three)
    folder = output / name
    if not overwrite and not recipe_only and any((folder / each).exists() for each in MODELS):
        raise FileExistsError(
            f"{folder} holds a run already. Replace it with --overwrite, or choose another --name."
        )
    collected = collect(three, None if kind is None else kind.value, group)
    recipe = _plan(collected, name, folder, held_out, changes or ())
    file = _write_recipe(recipe, output)
    if recipe_only:
        say(f"Train:  hidiff train {shlex.quote(str(file))} --output {shlex.quote(str(output))}")
        return
    _train_and_test(recipe, file, output, three, overwrite=overwrite, device=device)


def _name_of(three: "Folders") -> str:
    from hidiff.plan import run_name

    return f"{run_name(three.images.resolve().parent)}_adapted"


def _plan(
    collected: "Collected", name: str, folder: Path, held_out: float, changes: Sequence[str]
) -> "Recipe":
    """Check all files, write cases.json, and return the recipe."""
    from hidiff.cli.planning import given_settings
    from hidiff.cli.progress import progress_bar
    from hidiff.datasets.sets.listed import write_listed
    from hidiff.experiment import adapting
    from hidiff.recipe import change_recipe

    patients = len({case.group for case in collected.cases})
    say(
        f"{len(collected.cases)} cases of {patients} patients have an image, a mask and a prior "
        f"({collected.kind})."
    )
    if collected.patients:
        say(f"{collected.patients}: if that is wrong, give --group.", "dim")
    if collected.without_prior:
        count, first = len(collected.without_prior), collected.without_prior[0]
        say(f"{count} cases without a prior are left out, {first} among them.")
    with progress_bar() as bar:
        task = bar.add_task("looking at the images", total=len(collected.cases))
        _, settings, nan = given_settings(changes)
        found, labels, ignore = adapting.look_at_cases(
            collected, lambda: bar.advance(task), settings=settings, nan=nan
        )
        cases = adapting.with_spacing(collected.cases, found)
        root = folder.absolute()
        recipe = adapting.plan_refiner(name, root, collected, found, labels, ignore=ignore)
        recipe = change_recipe(recipe, changes)
        task = bar.add_task("checking the priors", total=len(cases))
        adapting.check_priors(cases, adapting.reading_for(recipe), lambda: bar.advance(task))
    splits = adapting.split_patients(cases, held_out, recipe.seed)
    write_listed(splits, root)
    counts = {split: len({case.group for case in each}) for split, each in splits.items()}
    say(
        f"{counts['train']} patients train, {counts['validation']} validate, and "
        f"{counts['test']} are held out."
    )
    return recipe


def _write_recipe(recipe: "Recipe", output: Path) -> Path:
    """Write the recipe, once its cases and networks were made as a training makes them."""
    from hidiff.cli.planning import check_runs
    from hidiff.recipe import write_recipe

    check_runs(recipe)
    file = output / f"{recipe.name}.yaml"
    write_recipe(recipe, file)
    say(f"Recipe: {file}")
    return file


def _train_and_test(
    recipe: "Recipe", file: Path, output: Path, three: "Folders", *, overwrite: bool, device: Device
) -> None:
    from hidiff.cli.run import train_into

    folder = output / recipe.name
    words = shlex.join([str(file), "--output", str(output)])
    experiment = train_into(recipe, folder, words, resume=False, overwrite=overwrite, device=device)
    if experiment.is_first_process:
        _recommend(_test(experiment, device), folder, three)


def _test(experiment: "Experiment", device: Device) -> "Gain":
    """Judge the model on the held-out patients, and write what hidiff evaluate writes."""
    from hidiff.cli.judging import describe, judge_into
    from hidiff.cli.options import choose_device
    from hidiff.evaluation.gain import measure_gain
    from hidiff.experiment import load_predictor, open_model

    model, cases = open_model(experiment.folder), experiment.splits["test"]
    predictor = load_predictor(experiment.folder, choose_device(device))
    facts = describe(model, predictor, None, "test", cases, {})
    folder = experiment.folder / "test"
    name = experiment.recipe.name
    rows = judge_into(folder, predictor, cases, name, facts, {}, report=False)
    return measure_gain(rows)


def _recommend(gain: "Gain", folder: Path, three: "Folders") -> None:
    """Print the gain, the verdict, and the command that uses the model."""
    say(f"Gain:   {gain}")
    if gain.is_certain:
        say("Verdict: worth using, as the whole interval lies above 0.")
    else:
        say(
            "Verdict: not recommended, as the interval does not lie above 0: keep the masks that "
            "you have. More patients or more steps (--set training.stage2_steps) may help."
        )
    words = ["hidiff", "refine", folder, three.images, "--prior", three.priors]
    words += ["--output", f"{folder}/masks"]
    say(f"{'Use' if gain.is_certain else 'Try'}:    {shlex.join(map(str, words))}")
