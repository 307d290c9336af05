"""Operators are declared only where torchvision lacks them."""

from importlib.util import find_spec

import pytest
import torch

from hidiff.segmentors import torchvision_operators
from hidiff.segmentors.torchvision_operators import declare_torchvision_operators


def test_without_torchvision_nothing_is_declared(monkeypatch):
    monkeypatch.setattr(torchvision_operators, "find_spec", lambda name: None)
    assert declare_torchvision_operators.__wrapped__() is None


@pytest.mark.skipif(find_spec("torchvision") is None, reason="torchvision is not installed")
def test_torchvision_imports_whole_or_not_and_has_its_operators():
    declare_torchvision_operators()
    import torchvision

    assert torchvision.models.resnet18 is not None
    assert torch.ops.torchvision.nms is not None
    assert declare_torchvision_operators() is declare_torchvision_operators()
