"""Units of length that headers declare, and what each is in millimetres."""

# As NIfTI, NRRD (UDUNITS) and MetaImage spell them.
MILLIMETRES = {
    **dict.fromkeys(("mm", "millimeter", "millimeters", "millimetre", "millimetres"), 1.0),
    **dict.fromkeys(("cm", "centimeter", "centimeters", "centimetre", "centimetres"), 10.0),
    **dict.fromkeys(("m", "meter", "meters", "metre", "metres"), 1000.0),
    **dict.fromkeys(("um", "µm", "μm", "micron", "microns", "micrometer", "micrometers"), 1e-3),
    **dict.fromkeys(("micrometre", "micrometres"), 1e-3),
    **dict.fromkeys(("nm", "nanometer", "nanometers", "nanometre", "nanometres"), 1e-6),
    **dict.fromkeys(("in", "inch", "inches"), 25.4),
}
# Headers without a unit are in millimetres: MetaImage's "?", and an empty word.
UNDECLARED = ("", "?", "unknown", "none")


def read_unit(unit: str) -> tuple[float, tuple[str, ...]]:
    """Return the millimetres in a unit, and a remark for the reader of the header if it is odd.

    A unit of another name counts as millimetres, as most programs read it.
    """
    name = unit.strip().strip('"').lower()
    if name in UNDECLARED:
        return 1.0, ()
    if name not in MILLIMETRES:
        return 1.0, (f"the header gives lengths in {unit[:40]!r}, which are read as mm",)
    factor = MILLIMETRES[name]
    if factor == 1:
        return factor, ()
    return factor, (f"the header gives lengths in {name}, which are read as {factor:g} mm each",)
