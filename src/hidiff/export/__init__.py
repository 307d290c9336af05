"""Trained models for other engines: packed modules, ONNX, OpenVINO."""

from hidiff.export.kept import KeptExport
from hidiff.export.onnx_model import SEGMENTOR, STEP, WHOLE, OnnxSettings, export_model
from hidiff.export.pack import pack_refiner
from hidiff.export.packed_file import FORMAT, STORAGES, load_packed, save_packed
from hidiff.export.segmentor import RUNTIMES, TORCH, export_segmentor

__all__ = [
    "FORMAT",
    "RUNTIMES",
    "SEGMENTOR",
    "STEP",
    "STORAGES",
    "TORCH",
    "WHOLE",
    "KeptExport",
    "OnnxSettings",
    "export_model",
    "export_segmentor",
    "load_packed",
    "pack_refiner",
    "save_packed",
]
