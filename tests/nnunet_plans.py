"""Folders of a trained nnU-Net: plans.json and dataset.json as nnU-Net 2.5 writes them."""

import json

from hidiff.segmentors import SegmentorSettings, make_segmentor

STAGES = 6
PACKAGE = "dynamic_network_architectures.architectures.unet"
ARCHITECTURES = {"PlainConvUNet": "n_conv_per_stage", "ResidualEncoderUNet": "n_blocks_per_stage"}
LABELS = {"background": 0, "liver": 1, "tumour": 2}


def plans_of(kind="PlainConvUNet", **planned):
    """plans.json as nnU-Net 2.5 writes it, in the parts that a network needs; 2d inherits."""
    configuration = {
        "patch_size": [64, 96],
        "spacing": [1.0, 1.0],
        "normalization_schemes": ["ZScoreNormalization"],
        "architecture": {
            "network_class_name": f"{PACKAGE}.{kind}",
            "arch_kwargs": {
                "n_stages": STAGES,
                "features_per_stage": [4, 5, 6, 7, 8, 9],
                "conv_op": "torch.nn.modules.conv.Conv2d",
                "kernel_sizes": [[3, 3]] * STAGES,
                "strides": [[1, 1]] + [[2, 2]] * (STAGES - 1),
                ARCHITECTURES[kind]: [1] * STAGES,
                "n_conv_per_stage_decoder": [1] * (STAGES - 1),
                "conv_bias": True,
                "norm_op": "torch.nn.modules.instancenorm.InstanceNorm2d",
                "norm_op_kwargs": {"eps": 1e-05, "affine": True},
                "dropout_op": None,
                "dropout_op_kwargs": None,
                "nonlin": "torch.nn.LeakyReLU",
                "nonlin_kwargs": {"inplace": True},
            },
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        },
    }
    ct = {"mean": 80.0, "std": 20.0, "percentile_00_5": -160.0, "percentile_99_5": 240.0}
    return {
        "plans_name": "nnUNetPlans",
        "foreground_intensity_properties_per_channel": {"0": ct},
        "configurations": {"base": configuration, "2d": {"inherits_from": "base", **planned}},
    }


def write(folder, plans, labels, channels=1):
    folder.mkdir(exist_ok=True)
    names = {str(number): f"channel {number}" for number in range(channels)}
    dataset = {"channel_names": names, "labels": labels, "file_ending": ".nii.gz"}
    (folder / "plans.json").write_text(json.dumps(plans))
    (folder / "dataset.json").write_text(json.dumps(dataset))
    return folder


def make(folder, channels=1, planes=3, **options):
    settings = SegmentorSettings(name="nnunet", options={"folder": str(folder), **options})
    return make_segmentor(settings, channels, planes)
