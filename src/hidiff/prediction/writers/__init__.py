"""Predictions to files: pictures, volumes and DICOM segmentations."""
