"""Masks of volumes, judged by nnU-Net's own evaluator: it takes them, and its Dice is ours."""

import json
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

from hidiff.data.nnunet import list_nnunet, read_dataset
from hidiff.data.volume import read_any_volume
from hidiff.inference import evaluate
from hidiff.inference.write_volume import write_volume
from hidiff.metrics import summarise
from tests.nnunet_sets import LABELS, write_nnunet
from tests.volumes import Echo

pytestmark = pytest.mark.skipif(find_spec("nnunetv2") is None, reason="nnunetv2 is not installed")

SHAPES = ((12, 10, 4), (9, 14, 1), (8, 8, 3))
REGIONS = {"background": 0, "whole": [1, 2], "blood": 2}
# In a process of its own, as nnU-Net imports much, and one of its libraries looks for CUDA.
JUDGE = """
import sys, torch
library = torch.library.Library("torchvision", "DEF")  # its wheel finds no CUDA libraries here
library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
from nnunetv2.evaluation.evaluate_predictions import compute_metrics_on_folder2
truth, masks, dataset, plans, output = sys.argv[1:]
compute_metrics_on_folder2(truth, masks, dataset, plans, output, num_processes=1)
"""
PLANS = {"plans_name": "nnUNetPlans", "image_reader_writer": "NibabelIO", "configurations": {}}


@pytest.mark.parametrize("labels", [LABELS, REGIONS], ids=["exclusive", "regions"])
def test_nnunets_evaluator_takes_our_masks_and_finds_our_dice(tmp_path, labels):
    ...
