"""Files are joined to images by the channels and the data set of the model."""

import nibabel as nib
import numpy as np
import pytest
from fastapi.testclient import TestClient

from hidiff.serve.folder import Folder
from hidiff.serve.offered import OfferedModels
from hidiff.serve.service import Service
from hidiff.serve.settings import ServeSettings
from hidiff.serve.web import make_app
from tests.correction.models import make_model, save_networks
from tests.serve.conftest import open_image, wait_ready

SEQUENCES = ("t1n", "t1c", "t2w", "t2f")


@pytest.fixture(scope="module")
def brain(tmp_path_factory):
    """A model of the four sequences of BraTS."""
    folder = tmp_path_factory.mktemp("brain")
    made = make_model(folder, data={"channels": 4, "source": "brats2023"})
    return OfferedModels([save_networks(folder / "brain.safetensors", *made)])


@pytest.fixture
def scans(tmp_path):
    """Two patients, one of whom lacks a sequence, and the mask of the first."""
    folder = tmp_path / "scans"
    folder.mkdir()
    draws = np.random.default_rng(0)
    for patient, endings in (("GLI-1", SEQUENCES), ("GLI-2", SEQUENCES[:3])):
        for ending in (*endings, "seg"):
            values = draws.integers(0, 200, (64, 64, 2)).astype(np.uint8)
            file = folder / f"{patient}-{ending}.nii.gz"
            nib.save(nib.Nifti1Image(values, np.diag([-1, -1, 3, 1])), file)
    return folder


@pytest.fixture
def client(brain, scans, tmp_path):
    service = Service(ServeSettings(), brain, [scans], tmp_path / "masks")
    yield TestClient(make_app(service), base_url="http://127.0.0.1:1527")
    service.end()


def test_the_sequences_of_a_patient_are_one_case_of_the_folder(client):
    cases = client.get("/api/v1/cases").json()["cases"]
    assert [case["name"] for case in cases] == ["GLI-1", "GLI-2"]
    opened = client.post("/api/v1/sessions", files={"case": (None, cases[0]["id"])})
    assert wait_ready(client, opened.json()["id"])["state"] == "ready"


def test_a_case_that_lacks_a_sequence_is_refused_by_name_and_not_ranked(client, scans, tmp_path):
    second = client.get("/api/v1/cases").json()["cases"][1]
    answer = client.post("/api/v1/sessions", files={"case": (None, second["id"])})
    assert answer.status_code == 422
    assert "GLI-2 lacks GLI-2-t2f" in answer.text
    folder = Folder([scans], 4, tmp_path, "brats2023")
    first = folder.unranked()
    assert first is not None and first.name == "GLI-1"
    first.doubt = 0.5
    assert folder.unranked() is None


def test_uploaded_sequences_are_one_image(client, scans):
    files = [scans / f"GLI-1-{ending}.nii.gz" for ending in SEQUENCES]
    session = open_image(client, *reversed(files), model="brain")
    assert session["state"] == "ready", session
    assert session["name"].startswith("GLI-1")
