"""Trained models for other engines: packed modules, ONNX, OpenVINO."""
