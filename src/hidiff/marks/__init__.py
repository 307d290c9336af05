"""A person's marks in a mask, as planes; and marks as a person would make them."""

from hidiff.marks.draw import NOBODY, Drawn, draw_marks
from hidiff.marks.errors import Error, deepest_point, depth, find_errors, fitting_radius
from hidiff.marks.footprint import Footprint, Point, Size
from hidiff.marks.mark import Area, Click, Mark, Stroke
from hidiff.marks.simulate import (
    MessyPerson,
    click_deepest,
    click_inside,
    draw_stroke,
    pick_error,
    seeded,
    simulate_marks,
)
from hidiff.marks.spread import spread_marks
from hidiff.marks.strokes import STROKES
from hidiff.marks.thin import thin

__all__ = [
    "NOBODY",
    "STROKES",
    "Area",
    "Click",
    "Drawn",
    "Error",
    "Footprint",
    "Mark",
    "MessyPerson",
    "Point",
    "Size",
    "Stroke",
    "click_deepest",
    "click_inside",
    "deepest_point",
    "depth",
    "draw_marks",
    "draw_stroke",
    "find_errors",
    "fitting_radius",
    "pick_error",
    "seeded",
    "simulate_marks",
    "spread_marks",
    "thin",
]
