"""Feature files that lead out of themselves, hold more than they should, or say what nobody wrote."""

import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from oatools.core.errors import ItemError
from oatools.features.featurefile import (
    Features,
    read_features,
    read_recorded,
    write_features,
)

NUMBERS = np.random.default_rng(0).normal(size=(5, 7)).astype("f4")
DEEP = "[" * 30_000 + "]" * 30_000
HANG = Path(os.environ.get("OATOOLS_TEST_DATA", "../shared/data")).parent / "cases/faults/hang.h5"


def store(file, **more):
    """Store the numbers as `features`, in another form."""
    file.create_dataset("features", data=NUMBERS, **more)


def link(file, inside):
    store(file)
    file["other"] = file["features"]
    del file["features"]
    file["features"] = h5py.SoftLink("/other") if inside else h5py.ExternalLink("b.h5", "/other")


def through_a_group(file):
    file["group"] = h5py.ExternalLink("b.h5", "/")
    file["features"] = h5py.SoftLink("/group/other")


def virtual(file):
    layout = h5py.VirtualLayout((5, 7), "f4")
    layout[:] = h5py.VirtualSource("b.h5", "other", (5, 7))
    file.create_virtual_dataset("features", layout)


def say(**attributes):
    def change(file):
        store(file)
        for name, value in attributes.items():
            file.attrs[name] = value

    return change


ELSEWHERE = "is not stored as it is, but packed, in pieces, or elsewhere"
HOSTILE = {
    "a link out": (lambda file: link(file, inside=False), "'features' is missing, or a link"),
    "a link within": (lambda file: link(file, inside=True), "'features' is missing, or a link"),
    "a link to a link out": (through_a_group, "'features' is missing, or a link"),
    "external storage": (
        (lambda f: f.create_dataset("features", (5, 7), "f4", external=[("s", 0, 140)])),
        ELSEWHERE,
    ),
    "a virtual array": (virtual, ELSEWHERE),
    "packed": (lambda file: store(file, compression="gzip"), ELSEWHERE),
    "in chunks": (lambda file: store(file, chunks=(5, 7)), ELSEWHERE),
    "a bomb": (
        (
            lambda f: f.create_dataset(
                "features", (10**5, 10**5), "f4", chunks=(1000, 1000), compression="gzip"
            )
        ),
        ELSEWHERE,
    ),
    "40 GB declared": (
        (lambda f: f.create_dataset("features", (10**5, 10**5), "f4")),
        r"'features' of shape \(100000, 100000\) is larger than the file",
    ),
    "whole numbers": (
        (lambda f: f.create_dataset("features", data=NUMBERS.astype(int))),
        "holds int64, not floating-point",
    ),
    "texts": ((lambda f: f.create_dataset("features", data=["a"])), "holds object, not"),
    "a group": ((lambda f: f.create_group("features")), "'features' is no array"),
    "one number": (
        (lambda f: f.create_dataset("features", data=np.float32(3))),
        r"features of shape \(\)",
    ),
    "nothing": (
        (lambda f: f.create_dataset("features", data=h5py.Empty("f4"))),
        "not a readable feature file",
    ),
    "too large for a model": (
        (lambda f: f.create_dataset("features", data=NUMBERS.astype("f8") * 1e300)),
        "'features' holds numbers too large for float32",
    ),
    "a place that is none": (
        lambda f: (store(f), f.create_dataset("position", data=[0, 1, np.nan, 3, 4])),
        "'position' holds numbers that are not finite",
    ),
    "a list for a text": (say(backbone=[1, 2, 3]), "'backbone' is no text or number"),
    "a number for a text": (say(weights_sha256=3), "'weights_sha256' is '3', not text"),
    "no UTF-8": (say(backbone=np.bytes_(b"\xff\xfe")), "not a readable feature file"),
    "a text for an object": (say(preprocessing="size 224"), "'preprocessing' is of type str"),
    "nested too deep": (say(preprocessing=DEEP), "it is nested too deep"),
    "steps that are none": (say(OatoolsSteps="[3]"), "'OatoolsSteps' is of type int"),
    "a seed that is none": (
        say(OatoolsSteps='[{"tool": "oa-embed", "parameters": {"weights": "random", "seed": []}}]'),
        "'seed' is a list, not a whole number",
    ),
    "no digest, but of oa-embed": (
        say(OatoolsSteps='[{"tool": "oa-embed", "parameters": {"weights": "random", "seed": 0}}]'),
        r"a digest that it had was removed \(features_sha256\)",
    ),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_file_is_one_clean_error_and_nothing_is_followed(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s").write_bytes(b"\1\2\3\4" * 35)
    with h5py.File("b.h5", "w") as other:
        other["other"] = NUMBERS
    change, said = HOSTILE[kind]
    with h5py.File("a.h5", "w") as file:
        change(file)
        if "position" not in file:
            file["position"] = np.arange(5.0)
    with pytest.raises(ItemError, match=said) as refused:
        read_features("a.h5")
    assert "a.h5" in refused.value.reason and "\n" not in str(refused.value)


def test_plain_files_of_other_programs_are_read(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["features"], file["position"] = NUMBERS.astype(">f8"), np.arange(5.0)
        file.attrs["backbone"] = np.bytes_(b"resnet18")
        file.attrs["voxels"] = [1, 2, 3]  # means nothing here, and is passed over
    found = read_features(tmp_path / "a.h5")
    assert found.provenance == {"backbone": "resnet18"} and not found.has_digest
    assert np.array_equal(found.features, NUMBERS.astype("f8"))


def test_a_relative_path_is_that_of_the_folder_of_now(tmp_path, monkeypatch):
    for name in ("one", "two"):
        made = Features(NUMBERS, np.arange(5.0), {"backbone": name})
        write_features(tmp_path / name / "a.h5", made)
    for name in ("one", "two"):
        monkeypatch.chdir(tmp_path / name)
        assert read_features("a.h5").provenance["backbone"] == name


@pytest.mark.skipif(not HANG.is_file(), reason="needs ../shared/cases")
def test_a_file_that_hangs_hdf5_is_an_error_and_the_next_is_read(tmp_path):
    with pytest.raises(ItemError, match="reading it took over 3 s of processor time"):
        read_features(HANG)
    write_features(tmp_path / "a.h5", Features(NUMBERS, np.arange(5.0), {}))
    assert np.array_equal(read_features(tmp_path / "a.h5").features, NUMBERS)
    said = read_recorded(tmp_path / "a.h5")
    assert said.step is None and not said.is_ruin
