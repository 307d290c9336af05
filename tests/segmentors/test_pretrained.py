"""A segmentor's own weights: what fits is told, what does not is refused or left out as asked."""

import pytest
import torch
from torch import nn

from hidiff import weights
from hidiff.segmentors import load_pretrained, wrap


def make(planes=1):
    network = nn.Sequential(
        nn.Conv2d(3, 4, 4, stride=4), nn.BatchNorm2d(4), nn.Conv2d(4, planes, 1)
    )
    return wrap(network, features={4: "1"})


def content(segmentor, prefix=""):
    return {f"{prefix}{k}": v.clone() for k, v in segmentor.network.state_dict().items()}


@pytest.mark.parametrize(
    "prefix", ["", "module.", "model.", "network.", "net.", "segmentor.network."]
)
def test_names_fit_whatever_was_put_before_them(tmp_path, prefix):
    trained, fresh = make(), make()
    weights.save(tmp_path / "a.safetensors", content(trained, prefix), {})
    match = load_pretrained(fresh, tmp_path / "a.safetensors")
    assert match.whole and str(match) == "9 of 9 tensors match"
    for left, right in zip(content(fresh).values(), content(trained).values(), strict=True):
        assert torch.equal(left, right)


def test_what_does_not_fit_is_refused_by_name_and_shape(tmp_path):
    tensors = content(make(planes=2))
    tensors["head.bias"] = tensors.pop("0.bias")
    weights.save(tmp_path / "a.safetensors", tensors, {})
    fresh, before = make(), content(make())
    before = content(fresh)
    words = (
        r"a\.safetensors, do not fit Sequential: 6 of 9 tensors match, 1 are missing in the file "
        r"\(0\.bias\), 1 of the file are unknown here \(head\.bias\), 2 are of another shape "
        r"\(2\.weight: \(2, 4, 1, 1\) there, \(1, 4, 1, 1\) here, .*partial=true"
    )
    with pytest.raises(ValueError, match=words):
        load_pretrained(fresh, tmp_path / "a.safetensors")
    assert all(torch.equal(before[k], v) for k, v in content(fresh).items())


def test_partly_means_what_fits_and_nothing_else(tmp_path):
    trained, fresh = make(planes=2), make()
    before = content(fresh)
    weights.save(tmp_path / "a.safetensors", content(trained), {})
    match = load_pretrained(fresh, tmp_path / "a.safetensors", partial=True)
    assert len(match.found) == 7 and not match.whole
    after = content(fresh)
    assert torch.equal(after["0.weight"], content(trained)["0.weight"])
    assert torch.equal(after["2.weight"], before["2.weight"])


def test_nothing_at_all_in_common_is_refused_even_then(tmp_path):
    weights.save(tmp_path / "a.safetensors", {"x": torch.zeros(1)}, {})
    with pytest.raises(ValueError, match="0 of 8 tensors match"):
        load_pretrained(make(), tmp_path / "a.safetensors", partial=True)


def test_batch_norms_counter_may_be_missing(tmp_path):
    tensors = {k: v for k, v in content(make()).items() if not k.endswith("num_batches_tracked")}
    weights.save(tmp_path / "a.safetensors", tensors, {})
    assert load_pretrained(make(), tmp_path / "a.safetensors").whole


def test_a_file_that_is_not_there_is_asked_for_by_its_whole_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ValueError, match=rf"no file {tmp_path}/a\.pt\. Put .* nothing is downloaded"
    ):
        load_pretrained(make(), "a.pt")
