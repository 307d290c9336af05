"""Ambiguities in headers of volumes, for the check: units, two affines, axes that are turned."""

from pathlib import Path

from hidiff.datasets.case import Case
from hidiff.images import Geometry, read_geometry
from hidiff.images.alignment import compare_axes
from hidiff.inspection.findings import Finding


class Remarks:
    """The choices that readers made, with the files that left them open."""

    def __init__(self) -> None:
        self.files: dict[str, list[str]] = {}

    def look_at(self, case: Case, geometry: Geometry) -> None:
        """Take in the headers of a case's images and masks; `geometry` is that of the image."""
        wanted = geometry.grid
        if wanted is None:
            return
        images = case.image if isinstance(case.image, tuple) else (case.image,)
        fields = () if case.field_of_view is None else (case.field_of_view,)
        self._add(images[0], wanted.remarks)
        for file in (*images[1:], *case.masks, *fields):
            grid = read_geometry(file).grid
            if grid is not None:
                self._add(file, (*grid.remarks, *compare_axes(grid, wanted)))

    def findings(self) -> list[Finding]:
        """Return a warning for each choice."""
        return [
            Finding("warning", f"{remark} ({len(files)} files). Check that it is meant.", files)
            for remark, files in ((text, tuple(names)) for text, names in self.files.items())
        ]

    def _add(self, file: Path | str, remarks: tuple[str, ...]) -> None:
        for remark in remarks:
            self.files.setdefault(remark, []).append(Path(file).name)
