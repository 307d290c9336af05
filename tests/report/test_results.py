"""The files of an evaluation."""

from hidiff.report.files import result_files


def test_only_the_files_of_an_evaluation_are_found(tmp_path):
    (tmp_path / "pictures").mkdir()
    for name in ("rows.csv", "report.html", "pictures/worst_a.png", "notes.txt"):
        (tmp_path / name).touch()
    names = {str(file.relative_to(tmp_path)) for file in result_files(tmp_path)}
    assert names == {"rows.csv", "report.html", "pictures/worst_a.png"}
