"""The version of HiDiff. Nothing else lives here, so every module may import it."""

__version__ = "0.2.0"
