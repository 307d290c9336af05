"""Models on the Hugging Face hub, over a stand-in on loopback: there, back, and what is refused."""

import json
import pickle
import re

import numpy as np
import pytest
from typer.testing import CliRunner

import hidiff
from hidiff.cli.app import app
from hidiff.models import FOLDER, find_model, hub
from hidiff.models.hub import CARD_FILE, CONFIG_FILE, MODEL_FILE, hub_name
from tests.models.hub_server import stand_in

constants = pytest.importorskip("huggingface_hub.constants", reason="it comes with the extra hub")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder of a shipped model, as it would be pushed."""
    return hidiff.load("vessels").save_pretrained(tmp_path_factory.mktemp("pushed"))


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with stand_in(monkeypatch, tmp_path / "cache") as made:
        yield made


@pytest.fixture
def good(server, folder):
    """A repository as `hidiff push` writes it."""
    content = {path.name: path.read_bytes() for path in folder.iterdir()}
    server.repositories["anna/vessels"] = content
    return content


def image():
    return np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)


def run(*arguments):
    return CliRunner().invoke(app, [str(each) for each in arguments])


# There and back


def test_a_folder_holds_three_files_and_no_path_of_this_machine(folder):
    assert {path.name for path in folder.iterdir()} == {MODEL_FILE, CONFIG_FILE, CARD_FILE}
    config = json.loads((folder / CONFIG_FILE).read_text())
    assert config["library_name"] == "hidiff" and config["recipe"]["data"]["channels"] == 3
    assert (folder / CARD_FILE).read_text() == hidiff.load("vessels").card


def test_the_folder_gives_the_same_labels_bit_for_bit(folder):
    ours, theirs = (hidiff.load(each).predict(image()) for each in (folder, "vessels"))
    assert np.array_equal(ours.labels, theirs.labels)
    assert np.array_equal(ours.probability, theirs.probability)


def test_a_model_is_fetched_once_by_two_names_alone_and_then_offline(server, good, monkeypatch):
    ours = hidiff.load("anna/vessels").predict(image())
    assert np.array_equal(ours.probability, hidiff.load("vessels").predict(image()).probability)
    assert sorted(server.fetched) == [CONFIG_FILE, MODEL_FILE]
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub.fetch.cache_clear()
    assert find_model("anna/vessels").name == MODEL_FILE
    assert len(server.fetched) == 2
    with pytest.raises(ValueError, match=r"berta/eyes is no file.*HF_HUB_OFFLINE"):
        find_model("berta/eyes")


def test_a_revision_is_taken(server, good):
    older = {**good, CONFIG_FILE: good[CONFIG_FILE].replace(b"vessels", b"OLDER")}
    server.branches["anna/vessels"] = {"v1": older, server.commit(older): older}
    hidiff.load("anna/vessels", revision="v1")
    found = find_model("anna/vessels@v1")
    assert b"OLDER" in found.with_name(CONFIG_FILE).read_bytes()
    assert b"OLDER" not in find_model("anna/vessels").with_name(CONFIG_FILE).read_bytes()
    with pytest.raises(ValueError, match=r"anna/vessels is no file.*could not be fetched"):
        find_model("anna/vessels@v2")
    with pytest.raises(ValueError, match="revision is 'v1', but 'vessels' is not USER/NAME"):
        hidiff.load("vessels", revision="v1")


def test_a_repository_that_changes_while_it_is_fetched_is_refused(server, good, monkeypatch):
    monkeypatch.setattr(hub, "_look", lambda *_: "0" * 40)
    with pytest.raises(ValueError, match=r"changed while it was fetched"):
        find_model("anna/vessels")


def test_push_writes_three_files_that_load(server):
    result = run("push", "vessels", "anna/eyes")
    assert result.exit_code == 0, result.output
    assert set(server.repositories["anna/eyes"]) == {MODEL_FILE, CONFIG_FILE, CARD_FILE}
    ours = hidiff.load("anna/eyes").predict(image())
    assert np.array_equal(ours.labels, hidiff.load("vessels").predict(image()).labels)


def test_push_without_a_right_to_write_says_how_to_log_in(server, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    result = run("push", "vessels", "anna/eyes")
    assert result.exit_code == 2 and "hf auth login" in result.output
    assert not server.repositories


# What is refused


class Evil:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was read",))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "extra/model.PKL", "modeling.py"])
def test_a_file_beside_that_can_run_code_is_refused_unread(server, good, name):
    good[name] = pickle.dumps(Evil())
    with pytest.raises(ValueError, match=rf"has '{name}', which can run code"):
        hidiff.load("anna/vessels")
    assert server.fetched == []


def test_no_safetensors_is_refused_even_where_a_pickle_stands_in(server, good):
    del good[MODEL_FILE]
    with pytest.raises(ValueError, match=r"is no HiDiff model: it lacks model\.safetensors"):
        hidiff.load("anna/vessels")
    good["pytorch_model.bin"] = pickle.dumps(Evil())
    with pytest.raises(ValueError, match="can run code"):
        hidiff.load("anna/vessels")
    assert server.fetched == []


@pytest.mark.parametrize(
    "name", ["../out.safetensors", "/etc/x", "a\\..\\..\\b", "C:\\x", "a/../b"]
)
def test_a_path_in_a_file_name_is_refused(server, good, name):
    good[name] = b"x"
    with pytest.raises(ValueError, match="leads out of its folder"):
        hidiff.load("anna/vessels")
    assert server.fetched == []


@pytest.mark.parametrize("size", [5 * 2**30, None])
@pytest.mark.parametrize("name", [MODEL_FILE, CONFIG_FILE])
def test_a_huge_file_or_one_of_unknown_size_is_refused(server, good, name, size):
    server.claimed["anna/vessels", name] = size
    with pytest.raises(ValueError, match=r"but at most [\d,]+ MiB are fetched"):
        hidiff.load("anna/vessels")
    assert server.fetched == []


def test_another_library_s_model_is_refused_before_its_weights_are_fetched(server, good):
    good[CONFIG_FILE] = b'{"library_name": "transformers"}'
    with pytest.raises(
        ValueError, match=r"is no HiDiff model: its config\.json names .*transformers"
    ):
        hidiff.load("anna/vessels")
    assert server.fetched == [CONFIG_FILE]


@pytest.mark.parametrize("content", [b"", b"\xff" * 64, pickle.dumps(Evil())])
def test_weights_that_are_no_safetensors_are_refused(server, good, content):
    good[MODEL_FILE] = content
    with pytest.raises(ValueError, match="does not read as safetensors"):
        hidiff.load("anna/vessels")


# Names


MEANINGS = r"(?s)is not a file.*\.safetensors.*comes with HiDiff.*USER/NAME"


@pytest.mark.parametrize("name", ["vesels", "a/b/c", "runs/../x"])
def test_a_name_with_no_meaning_is_refused_with_all_three(server, name):
    for load in (find_model, hidiff.load):
        with pytest.raises(ValueError, match=MEANINGS):
            load(name)
    for command in (("predict", name, "eye.png"), ("info", name), ("export", name)):
        result = run(*command)
        assert result.exit_code == 2
        assert re.search(MEANINGS, " ".join(result.output.split()))


def test_a_misspelt_model_is_told_the_nearest(server):
    with pytest.raises(ValueError, match=r"Did you mean vessels\?"):
        find_model("vesels")


def test_a_misspelt_path_is_never_asked_of_the_hub(server, tmp_path, monkeypatch):
    (tmp_path / "runs").mkdir()
    monkeypatch.setattr(hub, "import_extra", lambda *_: pytest.fail("the hub was asked"))
    with pytest.raises(ValueError, match="runs/drvie is not a file"):
        find_model("runs/drvie")


def test_a_file_at_the_path_wins_over_the_hub(server, good, tmp_path):
    (tmp_path / "anna").mkdir()
    target = tmp_path / "anna" / "vessels"
    target.write_bytes((FOLDER / "nodules.safetensors").read_bytes())
    assert find_model("anna/vessels").samefile(target)
    assert server.fetched == []


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("anna/eyes", ("anna/eyes", None)),
        ("anna/eyes@v1.0", ("anna/eyes", "v1.0")),
        ("eyes", None),
        ("a/b/c", None),
        ("./eyes", None),
        ("../eyes", None),
        ("/eyes", None),
        ("anna/..", None),
        ("anna/eyes@", None),
    ],
)
def test_what_names_a_repository(text, meaning):
    assert hub_name(text) == meaning
