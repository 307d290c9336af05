"""Whole models in ONNX Runtime: their labels are HiDiff's own, in one step, several, and draws."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from jaxtyping import config
from PIL import Image
from typer.testing import CliRunner

import hidiff
from hidiff import experiment, seeding, weights
from hidiff.cli.app import app
from hidiff.diffusion import subset
from hidiff.models import shipped_models
from hidiff.segmentors.pyramid import to_pyramid
from tests.tiny import COSTS, make_tiny, shake

onnxruntime = pytest.importorskip("onnxruntime", reason="it comes with the extra onnx")
pytest.importorskip("onnx", reason="it comes with the extra onnx")

SAME = 0.999  # share of the labels
# Of `vessels` in these small images: where rounding turns a single sign of millions, attention
# carries that to every pixel, and one label in a thousand turns.
SAME_VESSELS = 0.998
EXAMPLE = Path(__file__).parents[2] / "examples" / "onnx_only.py"


def export_onnx(*arguments):
    """Export without the checks of shapes: the sizes of what is traced are tensors, not numbers."""
    config.update("jaxtyping_disable", True)
    try:
        return experiment.export_onnx(*arguments)
    finally:
        config.update("jaxtyping_disable", False)


def sessions(files):
    return [onnxruntime.InferenceSession(file) for file in files]


def said_by(session):
    return session.get_modelmeta().custom_metadata_map


def images(model, batch, size):
    """Draw what a model finds: a bright disk on a dark ground, or dark curves on a reddish one.

    Of noise it would doubt every pixel, and a 1-bit layer turns many signs within rounding of zero.
    """
    noise = torch.rand(batch, model.channels, *size, generator=torch.Generator().manual_seed(0))
    height, width = size
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    if model.channels == 1:
        distance = ((rows - height / 2) ** 2 + (columns - width / 2) ** 2).sqrt()
        return 1.5 * torch.sigmoid(20 - distance) - 0.95 + 0.1 * noise
    colours = torch.tensor([[0.49, -0.29, -0.6], [-0.05, -0.68, -0.8]])[:, :, None, None]
    curve = ((rows - 10 * torch.sin(columns / 15)) % 24 < 3).float()
    return colours[0] + (colours[1] - colours[0]) * curve + 0.05 * noise


def ours(model, image, **changes):
    """Return HiDiff's own result for images that fill one window each, named 0, 1 and so on.

    Mirrors, the other rule and the lit view are not in an exported file, whatever the model's own
    settings are.
    """
    size = tuple(image.shape[2:])
    alike = {"window_size": size, "mirror": False, "rule": "half", "lit_view": False}
    settings = model.predictor.settings.model_copy(update={**alike, **changes})
    names = [str(number) for number in range(len(image))]
    return model.predictor.predict_slices(image, names, settings, size=size, refine=model.refines)


def run_all(session, **inputs):
    """Run a graph, and return its outputs by name; hints that are not given mark nothing."""
    taken = [each.name for each in session.get_inputs()]
    if "hints" in taken and "hints" not in inputs:
        planes = len(json.loads(said_by(session)["planes"]))
        shape = (len(inputs["image"]), planes, *inputs["image"].shape[2:])
        inputs["hints"] = np.zeros(shape, np.float32)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {name: inputs[name] for name in taken}), strict=True))


def check_whole(model, session, image, same=SAME):
    found = run_all(session, image=image.numpy())
    for number, truth in enumerate(ours(model, image, steps=1, samples=1)):
        assert (found["labels"][number] == truth.labels).mean() >= same
        assert found["labels"].dtype == truth.labels.dtype
        assert truth.probability.std() > 0.01
        for name in ("probability", "uncertainty", "prior"):
            wanted = getattr(truth, name)
            assert found[name][number].shape == wanted.shape
            apart = np.abs(found[name][number] - wanted)
            close = 1e-3 if name == "prior" or same == SAME else 0.1
            assert (apart < close).mean() >= SAME - (close > 1e-3) * 0.01


def run_steps(graphs, image, num_steps, steps, samples, temperature, hints=None):
    """The loop of docs/sharing.md, with HiDiff's own random numbers."""
    segmentor, step = graphs
    fixed = {"image": image.numpy(), **run_all(segmentor, image=image.numpy())}
    prior, first = fixed["prior"], fixed.pop("chance")
    if hints is not None:
        fixed["hints"] = hints.numpy()
    total = np.zeros_like(prior)
    for sample in range(samples):
        chance, y0_hat = first, None
        taken = subset(num_steps, steps)
        for t, next_t in zip(taken, [*taken[1:], 0], strict=True):
            uniform = [
                seeding.uniform_window(
                    0, str(number), 0, sample, t, planes=prior.shape[1], top=0, left=0,
                    height=prior.shape[2], width=prior.shape[3],
                )
                for number in range(len(prior))
            ]  # fmt: skip
            given = {"chance": chance, "uniform": np.stack([u.numpy() for u in uniform])}
            times = {"t": np.array([t]), "next_t": np.array([next_t])}
            heat = {"temperature": np.array([temperature], np.float32)}
            y0_hat, chance = run_all(step, **fixed, **given, **times, **heat).values()
        total += y0_hat
    return total / samples


def check_steps(model, graphs, image, steps, samples, temperature, same=SAME):
    num_steps = model.recipe.diffusion.num_steps
    found = run_steps(graphs, image, num_steps, steps, samples, temperature)
    changes = {"steps": steps, "samples": samples, "temperature": temperature}
    for number, truth in enumerate(ours(model, image, **changes)):
        labels = model.labels.decode(found[number])
        assert (labels == truth.labels).mean() >= same
        assert truth.probability.std() > 0.01


# Shipped models


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Every shipped model with one step and with several, by name and steps: files."""
    folder, made = tmp_path_factory.mktemp("exported"), {}

    def export(name, steps):
        if (name, steps) not in made:
            output = folder / f"{Path(name).stem}{steps}.onnx"
            made[name, steps] = export_onnx(name, output, steps)
        return made[name, steps]

    return export


@pytest.mark.parametrize("name", shipped_models())
def test_a_shipped_model_has_the_same_labels_at_any_size_and_number(name, exported):
    model = hidiff.load(name)
    # there is something to be equal about
    assert 0.001 < ours(model, images(model, 1, (128, 128)))[0].labels.mean() < 0.999
    (session,) = sessions(exported(name, 1))
    same = SAME_VESSELS if name == "vessels" else SAME
    check_whole(model, session, images(model, 2, (128, 128)), same)
    check_whole(model, session, images(model, 1, (128, 160)), same)


@pytest.mark.parametrize("name", shipped_models())
def test_a_shipped_model_has_the_same_labels_in_several_steps_and_draws(name, exported):
    model = hidiff.load(name)
    graphs = sessions(exported(name, 5))
    same = SAME_VESSELS if name == "vessels" else SAME
    for image, *amount in (
        (images(model, 2, (128, 128)), 5, 1, 0.0),
        (images(model, 1, (128, 160)), 4, 2, 0.5),
    ):
        check_steps(model, graphs, image, *amount, same)


def test_a_file_says_what_the_model_is_and_nothing_of_this_machine(exported):
    (file,) = exported("vessels", 1)
    said = said_by(onnxruntime.InferenceSession(file))
    data = hidiff.load("vessels").recipe.data
    assert json.loads(said["classes"]) == ["vessel"] and said["channels"] == "3"
    assert json.loads(said["intensity"]) == {"kind": "unit", "full_scale": 255.0}
    assert json.loads(said["window"]) == list(data.patch_size)
    assert json.loads(said["size"]) == list(data.size)
    assert said["hidiff_version"] == hidiff.__version__ and said["free_sizes"] == "true"
    assert "CHASE_DB1" in said["notice"]
    content = Path(file).read_bytes()
    assert str(Path(hidiff.__file__).parents[1]).encode() not in content
    assert b"site-packages" not in content


def test_openvino_reads_the_same_file(exported):
    openvino = pytest.importorskip("openvino", reason="it comes with the extra openvino")
    (file,) = exported("vessels", 1)
    model = hidiff.load("vessels")
    image = images(model, 1, (96, 128))
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(str(file), "CPU", settings)
    unmarked = {"hints": torch.zeros(1, 1, 96, 128).numpy()} if len(compiled.inputs) > 1 else {}
    labels = compiled({"image": image.numpy(), **unmarked})["labels"]
    assert (labels[0] == ours(model, image, steps=1)[0].labels).mean() >= SAME_VESSELS


def test_the_example_needs_no_torch_and_gives_the_mask_of_hidiff(exported, tmp_path):
    _, _, code = EXAMPLE.read_text().split('"""')
    assert len([line for line in code.splitlines() if line]) <= 30
    (file,) = exported("vessels", 1)
    pixels = (images(hidiff.load("vessels"), 1, (240, 250))[0].movedim(0, -1) + 1) * 127
    Image.fromarray(pixels.round().to(torch.uint8).numpy()).save(tmp_path / "eye.png")
    # as in an environment without them: to import one of these is an error
    blocked = "import sys; sys.modules.update(dict.fromkeys(('torch', 'hidiff', 'onnx')));"
    code = f"{blocked} import runpy; sys.argv = sys.argv[1:]; runpy.run_path({str(EXAMPLE)!r})"
    arguments = [EXAMPLE, file, tmp_path / "eye.png", tmp_path / "mask.png"]
    subprocess.run([sys.executable, "-c", code, *map(str, arguments)], check=True)
    mask = np.asarray(Image.open(tmp_path / "mask.png"))
    model = hidiff.load("vessels")
    whole = [-(-side // 32) * 32 for side in model.recipe.data.size]
    same = {"window_size": whole, "rule": "half", "lit_view": False}  # as in the file
    truth = model.predict(tmp_path / "eye.png", **same).labels
    assert set(np.unique(mask)) <= {0, 255} and truth.any()
    assert ((mask == 255) == (truth == 1)).mean() >= SAME_VESSELS


# Models trained here


# As the models that come with HiDiff are made: a mask at a quarter of the size, and a refiner that
# sees the image at full size and reads marks, both trained together.
PYRAMID = {
    "segmentor": {"name": "efficientnet_lite0_fpn", "options": {"width": 16}},
    "refiner": {"hints": True, "fine": True},
    "training": {"segmentor": "joint"},
}


def save_shaken(recipe, file):
    """Write an untrained model whose refiner changes much, as a checkpoint."""
    hybrid = shake(experiment.make_hybrid(recipe), size=1.0)
    tensors = {f"segmentor.{k}": v for k, v in hybrid.segmentor.state_dict().items()}
    tensors |= {f"refiner.{k}": v for k, v in hybrid.refiner.state_dict().items()}
    weights.save(file, tensors, {**experiment.checkpoint_metadata(recipe), "stage": "joint"})
    return file


def check_round_trips(path, folder):
    """Compare a model with itself as ONNX, as the hub's folder and packed, in one step and more."""
    model = hidiff.load(path)
    image = images(model, 2, (64, 96))
    (session,) = sessions(export_onnx(path, folder / "one.onnx", 1))
    check_whole(model, session, image)
    graphs = sessions(export_onnx(path, folder / "more.onnx", 3))
    check_steps(model, graphs, image, steps=3, samples=2, temperature=1.0)
    shared, packed = model.save_pretrained(folder / "shared"), folder / "packed.safetensors"
    assert CliRunner().invoke(app, ["pack", str(path), "--output", str(packed)]).exit_code == 0
    for amount in ({"steps": 1}, {"steps": 3, "samples": 2, "temperature": 1.0}):
        truths, *others = (ours(hidiff.load(p), image, **amount) for p in (path, shared, packed))
        for truth, same, smaller in zip(truths, *others, strict=True):
            assert np.array_equal(same.probability, truth.probability)
            assert (smaller.labels == truth.labels).mean() >= SAME


def test_a_model_trained_here_makes_every_round_trip(tmp_path):
    recipe = make_tiny(tmp_path, "exclusive")
    experiment.train(recipe, tmp_path / "run", cpu=True, validate=False, budget=COSTS)
    check_round_trips(tmp_path / "run", tmp_path)


def test_a_pyramid_with_hints_makes_every_round_trip(tmp_path):
    recipe = make_tiny(tmp_path, **PYRAMID)
    check_round_trips(save_shaken(recipe, tmp_path / "model.safetensors"), tmp_path)


def test_a_network_that_reads_the_prior_at_the_last_step_does_so_in_the_graph(tmp_path):
    labels = []
    for name in ("prior", "bits"):
        recipe = make_tiny(tmp_path, diffusion={"num_steps": 4, "last_step_input": name})
        file = save_shaken(recipe, tmp_path / f"{name}.safetensors")
        model, image = hidiff.load(file), torch.rand(1, 3, 64, 64) * 2 - 1
        (session,) = sessions(export_onnx(file, tmp_path / f"{name}.onnx", 1))
        check_whole(model, session, image)
        labels.append(run_all(session, image=image.numpy())["probability"])
    assert not np.allclose(*labels, atol=1e-3)


@pytest.mark.parametrize("steps", [1, 2])
def test_hints_are_an_input_and_are_read(tmp_path, steps):
    recipe = make_tiny(tmp_path, "regions", refiner={"hints": True, "fine": True})
    hybrid = shake(experiment.make_hybrid(recipe), size=1.0).eval()
    torch.nn.init.normal_(hybrid.refiner.hint_input.weight)
    tensors = {f"segmentor.{k}": v for k, v in hybrid.segmentor.state_dict().items()}
    tensors |= {f"refiner.{k}": v for k, v in hybrid.refiner.state_dict().items()}
    file = tmp_path / "model.safetensors"
    weights.save(file, tensors, {**experiment.checkpoint_metadata(recipe), "stage": "in_turns"})
    image = torch.rand(1, 3, 64, 64) * 2 - 1
    hints = torch.randint(-1, 2, (1, recipe.labels.num_planes, 64, 64)).float()
    graphs = sessions(export_onnx(file, tmp_path / "hints.onnx", steps))

    def with_hints(given):
        if steps == 1:
            inputs = {"image": image.numpy(), "hints": given.numpy()}
            return graphs[0].run(["probability"], inputs)[0]
        return run_steps(graphs, image, 4, steps, 1, 0.0, given)

    with torch.inference_mode():
        look = hybrid.look(image)
        uniforms = [lambda t: torch.full_like(look.prior, 0.5)]
        (*_, ((_, _, truth),)) = hybrid.refine(
            image, look, subset(4, steps), uniforms, temperature=0.0, hints=hints
        )
    assert (np.abs(with_hints(hints) - truth.numpy()) < 1e-3).mean() >= SAME
    assert (np.abs(with_hints(torch.zeros_like(hints)) - truth.numpy()) > 1e-3).mean() > 0.1


def test_a_model_without_a_refiner_gives_its_prior(tmp_path):
    recipe = make_tiny(tmp_path)
    hybrid = experiment.make_hybrid(recipe).eval()
    tensors = {f"segmentor.{k}": v for k, v in hybrid.segmentor.state_dict().items()}
    tensors |= {f"refiner.{k}": v for k, v in hybrid.refiner.state_dict().items()}
    file = tmp_path / "model.safetensors"
    weights.save(file, tensors, {**experiment.checkpoint_metadata(recipe), "stage": "stage1"})
    (session,) = sessions(export_onnx(file, tmp_path / "one.onnx", 1))
    image = torch.rand(2, 3, 64, 64)
    probability, prior = session.run(["probability", "prior"], {"image": image.numpy()})
    assert np.array_equal(probability, prior)
    with torch.inference_mode():
        assert np.allclose(prior, hybrid.look(image).prior.numpy(), atol=1e-5)


# Mistakes


def test_what_cannot_be_exported_is_told(tmp_path):
    recipe = make_tiny(tmp_path, diffusion={"kind": "gaussian"})
    hybrid = experiment.make_hybrid(recipe)
    tensors = {f"segmentor.{k}": v for k, v in hybrid.segmentor.state_dict().items()}
    tensors |= {f"refiner.{k}": v for k, v in hybrid.refiner.state_dict().items()}
    file = tmp_path / "model.safetensors"
    weights.save(file, tensors, {**experiment.checkpoint_metadata(recipe), "stage": "in_turns"})
    with pytest.raises(ValueError, match="kind is gaussian, but only models of kind bernoulli"):
        export_onnx(file, tmp_path / "one.onnx")


def test_the_command_refuses_before_it_loads_a_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "vessels.onnx").write_bytes(b"x")

    def refused(*arguments):
        result = CliRunner().invoke(app, ["export", *arguments])
        assert result.exit_code == 2
        return " ".join(result.output.split())

    assert "vessels.onnx exists already. Replace it with --overwrite." in refused("vessels")
    assert "give a name that ends in .onnx" in refused("vessels", "--output", "a.pb")
    assert "trained with T = 10 steps" in refused("vessels", "--steps", "11")


def test_pooling_to_a_coarser_stride_is_that_of_any_size():
    """The pooling that exports at any size is bit-equal to the one that takes any target size."""
    feature = torch.randn(2, 24, 8, 24)
    (*_, coarsest) = to_pyramid({16: feature}, 128, 384)
    assert torch.equal(coarsest, torch.nn.functional.adaptive_avg_pool2d(feature, (4, 12)))
