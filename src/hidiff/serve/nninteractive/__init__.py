"""nnInteractive's HTTP protocol, which 3D Slicer's and napari's extensions speak."""

from hidiff.serve.nninteractive.routes import nninteractive_routes

__all__ = ["nninteractive_routes"]
