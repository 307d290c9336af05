"""The results of an evaluation as tables, figures and one HTML page."""
