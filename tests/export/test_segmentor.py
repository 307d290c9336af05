"""A segmentor in another runtime: what it says, and what is told where it cannot run."""

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from hidiff import experiment, weights
from hidiff.export import RUNTIMES, KeptExport, export_segmentor, segmentor
from tests.tiny import make_tiny, shake

SIZE = (64, 64)


def need(*modules):
    for module in modules:
        pytest.importorskip(module, reason=f"{module} comes with an extra")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A checkpoint, and its networks."""
    folder = tmp_path_factory.mktemp("runtimes")
    recipe = make_tiny(folder)
    hybrid = shake(experiment.make_hybrid(recipe)).eval()
    tensors = {f"segmentor.{k}": v for k, v in hybrid.segmentor.state_dict().items()}
    tensors |= {f"refiner.{k}": v for k, v in hybrid.refiner.state_dict().items()}
    weights.save(folder / "model.safetensors", tensors, experiment.checkpoint_metadata(recipe))
    return folder / "model.safetensors", hybrid


@pytest.fixture(scope="module")
def onnx_model(saved):
    """Exported once for all, which takes seconds."""
    need("onnx", "onnxscript")
    return segmentor.to_onnx(saved[1].segmentor, SIZE)


@pytest.fixture
def exported(onnx_model, monkeypatch):
    monkeypatch.setattr(segmentor, "to_onnx", lambda *_: onnx_model)


@pytest.mark.parametrize("runtime", RUNTIMES)
@torch.inference_mode()
def test_logits_and_features_are_those_of_torch(runtime, saved, exported):
    need(RUNTIMES[runtime][0])
    theirs = saved[1].segmentor
    ours = export_segmentor(theirs, SIZE, runtime)
    assert ours.feature_channels == theirs.feature_channels
    for batch in (1, 3):
        image = torch.randn(batch, 3, *SIZE).contiguous(memory_format=torch.channels_last)
        found, truth = ours(image), theirs(image)
        assert_close(found.logits, truth.logits, rtol=0, atol=1e-4)
        for feature, wanted in zip(found.features, truth.features, strict=True):
            assert_close(feature, wanted, rtol=0, atol=1e-4)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_model_predicts_the_same_with_it(runtime, saved, exported):
    need(RUNTIMES[runtime][0])
    image = np.random.default_rng(0).integers(0, 255, (80, 70, 3)).astype(np.uint8)
    ours = experiment.load_predictor(saved[0], segmentor_runtime=runtime).predict(image, steps=2)
    theirs = experiment.load_predictor(saved[0]).predict(image, steps=2)
    assert_close(ours.prior, theirs.prior, rtol=0, atol=1e-4)
    # a 1-bit refiner turns a sign within rounding of zero
    assert (ours.labels == theirs.labels).mean() > 0.995


@pytest.fixture
def exports(onnx_model, monkeypatch):
    """Count exports, each of which gives the model of all tests."""
    made = []
    monkeypatch.setattr(segmentor, "to_onnx", lambda *_: made.append(1) or onnx_model)
    return made


def copy_of(saved, folder):
    tensors, metadata = weights.load(saved[0])
    weights.save(folder / "copy.safetensors", tensors, metadata)
    return folder / "copy.safetensors", tensors, metadata


def test_an_export_is_kept_beside_the_model_and_made_again_for_other_weights(
    saved, exports, tmp_path
):
    need("onnxruntime")
    model, tensors, metadata = copy_of(saved, tmp_path)

    def load():
        return experiment.load_predictor(model, segmentor_runtime="onnx")

    load()
    (kept,) = tmp_path.glob("*.onnx")
    load()
    assert len(exports) == 1
    name = next(iter(name for name in tensors if name.startswith("segmentor.")))
    weights.save(model, {**tensors, name: tensors[name] + 1}, metadata)
    load()
    assert len(exports) == 2
    (other,) = tmp_path.glob("*.onnx")
    assert other != kept


def test_a_damaged_export_is_made_again_with_a_warning(saved, exports, tmp_path):
    need("onnxruntime")
    model, *_ = copy_of(saved, tmp_path)
    experiment.load_predictor(model, segmentor_runtime="onnx")
    (kept,) = tmp_path.glob("*.onnx")
    kept.write_bytes(kept.read_bytes()[:1000])
    with pytest.warns(UserWarning, match=r"copy_segmentor_64x64_.*onnx does not load.*again"):
        experiment.load_predictor(model, segmentor_runtime="onnx")
    assert len(exports) == 2
    experiment.load_predictor(model, segmentor_runtime="onnx")
    assert len(exports) == 2


def test_an_export_that_is_kept_needs_no_exporter(saved, exports, tmp_path, monkeypatch):
    need("onnxruntime")
    model, *_ = copy_of(saved, tmp_path)
    experiment.load_predictor(model, segmentor_runtime="onnx")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    experiment.load_predictor(model, segmentor_runtime="onnx")
    assert len(exports) == 1


def test_the_packages_own_models_keep_theirs_in_the_users_folder(saved, tmp_path, monkeypatch):
    monkeypatch.setenv("HIDIFF_CACHE", str(tmp_path))
    (shipped,) = {experiment.find_model("vessels")}
    kept = KeptExport(shipped, saved[1].segmentor, SIZE)
    assert kept.path.parent == tmp_path / "segmentors"


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_missing_extra_is_told_in_a_line(runtime, saved, monkeypatch):
    for kept in saved[0].parent.glob("*.onnx"):
        kept.unlink()
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ValueError, match=rf"onnx is not installed.*hidiff\[{runtime}\]"):
        experiment.load_predictor(saved[0], segmentor_runtime=runtime)


def test_another_device_or_name_is_refused(saved):
    with pytest.raises(ValueError, match="on the CPU only, but cuda is asked for"):
        experiment.load_predictor(saved[0], "cuda", segmentor_runtime="onnx")
    with pytest.raises(ValueError, match="'tensorrt', but must be one of torch, onnx, openvino"):
        experiment.load_predictor(saved[0], segmentor_runtime="tensorrt")


def test_a_segmentor_that_cannot_be_exported_is_told(saved):
    need("onnx", "onnxscript")

    class Lasting(torch.nn.Module):
        image_channels, num_planes, feature_channels = 3, 1, ()

        def forward(self, image):
            raise RuntimeError("not for export")

    with pytest.raises(ValueError, match=r"cannot be exported to ONNX.*segmentor_runtime=torch"):
        segmentor.to_onnx(Lasting(), SIZE)


def test_the_steps_of_a_float_refiner_are_compiled_on_request(saved, monkeypatch):
    # what is compiled is the benchmark's to show: torch cannot trace the tests' checks of shapes
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda function: compiled.append(function) or function)
    image = np.zeros((80, 100, 3), dtype=np.uint8)
    experiment.load_predictor(saved[0], compiled=True).predict(image, steps=2)
    assert [each.__name__ for each in compiled] == ["denoise"]


def test_threads_share_the_one_request_of_openvino_in_turns():
    """A compiled model holds one request: a second one in the meantime overwrites its answer."""
    inside, most = threading.Semaphore(0), []

    class Answer(SimpleNamespace):
        def to_tuple(self):
            return (self.values,)

    class Compiled:
        request = None

        def __call__(self, images):
            inside.release()
            most.append(inside._value)
            self.request = images * 2
            time.sleep(0.05)  # long enough for another thread to come in
            inside.acquire()
            return Answer(values=self.request)

    core = SimpleNamespace(
        read_model=lambda model: model, compile_model=lambda model, device, settings: Compiled()
    )
    _, start = segmentor.RUNTIMES["openvino"]
    run = start(SimpleNamespace(Core=lambda: core), b"model")
    images = [np.full((1, 2), value) for value in range(4)]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(run, images))
    assert max(most) == 1
    assert [answer[0][0, 0] for answer in answers] == [0, 2, 4, 6]
