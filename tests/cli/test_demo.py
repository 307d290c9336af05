"""`hidiff demo` goes its whole way; here with hardly any training."""

import pytest

SHORT = (
    "training.stage1_steps=2 training.stage2_steps=2 diffusion.num_steps=1 training.batch_size=2"
)


def test_the_demo_prints_its_table_and_leaves_a_report(hidiff, tmp_path, monkeypatch):
    pytest.importorskip("nilearn", reason="the demo's brain comes with nilearn (extra demo)")
    monkeypatch.chdir(tmp_path)
    changes = [word for change in SHORT.split() for word in ("--set", change)]
    result = hidiff("demo", "--device", "cpu", *changes)
    assert result.exit_code == 0, result.output
    for word in ("grey_matter", "white_matter", "fluid", "prior", "refined"):
        assert word in result.stdout
    assert "Report: demo/report.html" in result.stdout
    assert (tmp_path / "demo" / "report.html").is_file()
    assert (tmp_path / "demo" / "brain" / "best.safetensors").is_file()

    again = hidiff("demo", "--device", "cpu", *changes)
    assert again.exit_code == 2
    assert "--overwrite" in again.stderr
