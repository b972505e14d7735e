"""Sidecars of other programs on their way through the commands."""

import json

import numpy as np
import pytest

AFFINE = np.array(
    [[1.5, 0, 0, -138.0], [0, 0, 3.0, -36.0], [0, 1.5, 0, -45.0], [0, 0, 0, 1]]
)  # a left knee
SECRETS = ["Meyerhof", "HOSP-4711", "1950-02-03", "Charité", "A1234567", "35177", "knee of Petra"]
FOREIGN = {
    "PatientName": "Meyerhof^Petra",
    "PatientID": "HOSP-4711",
    "PatientBirthDate": "1950-02-03",
    "InstitutionName": "Charité",
    "AccessionNumber": "A1234567",
    "DeviceSerialNumber": "35177",
    "SeriesDescription": "knee of Petra",
    "SequenceVariant": "Meyerhof",
    "Description": "knee of Petra",
    "Notes": ["knee of Petra"],
    "Cells": {"probability": "Meyerhof"},
    "global": {"const": {"PatientName": "Meyerhof"}},
    "EchoTime": 0.03,
    "ScanningSequence": "SE",
}


def knee(seed=0):
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in (48, 40, 20)], indexing="ij"))
    inside = (grid**2).sum(0) < 0.8
    smooth = np.exp(0.3 * grid[0]) * np.where(grid[1] > 0, 700, 350)
    return (np.where(inside, smooth, 20) + rng.normal(0, 8, inside.shape)).clip(1).astype(np.int16)


@pytest.fixture
def put(write_volume):
    """Write a volume with the bytes of its sidecar."""

    def write(name, sidecar):
        path = write_volume(f"{name}.nii.gz", knee(), AFFINE)
        path.with_name(f"{name}.json").write_bytes(sidecar)
        return path

    return write


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_settings_go_through_the_pipe_and_nothing_that_names_a_person(
    put, shell, tmp_path, encoding
):
    put("1_00m_left_cor-x", json.dumps(FOREIGN, ensure_ascii=False).encode(encoding))
    done = shell(
        "oa-orient 1_00m_left_cor-x.nii.gz -o ori --compress 0"
        " | oa-n4 -o n4 --compress 0 --field field --mask-out mask"
    )
    assert "warning" not in done.stderr
    made = [
        path for folder in ("ori", "n4", "field", "mask") for path in tmp_path.glob(f"{folder}/*")
    ]
    assert len(made) == 8
    for path in made:
        content = path.read_bytes()
        assert [word for word in SECRETS if word.encode() in content] == []
    fields = json.loads((tmp_path / "n4/1_00m_left_cor-x.json").read_text())
    assert [step["tool"] for step in fields.pop("OatoolsSteps")] == ["oa-orient", "oa-n4"]
    assert fields.pop("OatoolsOutput")["bytes"] > 0
    assert len(fields.pop("OatoolsSidecar")) == 64
    assert fields == {"EchoTime": 0.03, "ScanningSequence": "SE", "Side": "left"}
    again = shell(
        "oa-orient 1_00m_left_cor-x.nii.gz -o ori --compress 0 | oa-n4 -o n4 --compress 0"
    )
    assert again.stderr.count("0 done, 1 kept, 0 failed") == 2


@pytest.mark.parametrize("content", [b"", b"[1, 2]", b'{"EchoTime": 0.03', b"\xff\xfe\xff"])
def test_a_sidecar_that_is_odd_stops_no_volume_and_is_said_once(put, shell, tmp_path, content):
    put("1_00m_left_cor-x", content)
    done = shell("oa-orient 1_00m_left_cor-x.nii.gz -o ori")
    said, summary = done.stderr.splitlines()
    assert said.startswith(
        "oa-orient: 1_00m_left cor-x: warning: 1_00m_left_cor-x.json was not read"
    )
    assert summary == "oa-orient: 1 done, 0 kept, 0 failed"
    fields = json.loads((tmp_path / "ori/1_00m_left_cor-x.json").read_text())
    assert list(fields) == ["OatoolsSteps", "Side", "OatoolsOutput", "OatoolsSidecar"]
    done = shell("oa-n4 ori/1_00m_left_cor-x.nii.gz -o n4")
    assert done.stderr == "oa-n4: 1 done, 0 kept, 0 failed\n"
