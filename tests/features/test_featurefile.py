from dataclasses import replace

import h5py
import numpy as np
import pytest

from oatools.core.errors import ItemError
from oatools.features.featurefile import (
    Features,
    check_features,
    feature_space,
    read_features,
    read_recorded,
    space_difference,
    write_features,
)

from ..conftest import rewrite_attributes


def make_features(seed=0):
    rng = np.random.default_rng(seed)
    return Features(
        rng.standard_normal((5, 7)).astype(np.float32),
        np.arange(5.0),
        {
            "backbone": "b",
            "weights": "w",
            "weights_sha256": "x",
            "preprocessing": {"size": 8},
            "slices": 5,
            "precision": "float32",
            "source_sha256": "y",
        },
    )


def test_a_feature_file_reads_back_exactly_and_plainly_through_h5py(tmp_path):
    made = make_features()
    write_features(tmp_path / "a.h5", made)
    read = read_features(tmp_path / "a.h5")
    assert np.array_equal(read.features, made.features) and np.array_equal(
        read.position, made.position
    )
    assert {k: v for k, v in read.provenance.items() if k != "features_sha256"} == made.provenance
    assert feature_space(read.provenance)["preprocessing"] == {"size": 8}
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["features"].dtype == np.float32 and file.attrs["backbone"] == "b"


def test_equal_features_give_equal_bytes(tmp_path):
    for name in ("a.h5", "b.h5"):
        write_features(tmp_path / name, make_features())
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_broken_feature_files_are_refused(tmp_path):
    path = tmp_path / "a.h5"
    with pytest.raises(ItemError, match="no such file"):
        read_features(path)
    write_features(path, make_features())
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ItemError, match="not a readable feature file"):
        read_features(path)
    values = make_features()
    values.features[2, 3] = np.nan
    write_features(path, values)
    with pytest.raises(ItemError, match="not finite"):
        read_features(path)


def test_float16_stays_float16_and_varied_copies_are_read_when_asked_for(tmp_path):
    made = make_features()
    varied = np.random.default_rng(5).standard_normal((3, 5, 7)).astype(np.float16)
    made = Features(made.features.astype(np.float16), made.position, made.provenance, varied)
    write_features(tmp_path / "a.h5", made)
    assert read_features(tmp_path / "a.h5").features.dtype == np.float16
    assert read_features(tmp_path / "a.h5").augmented is None
    assert np.array_equal(read_features(tmp_path / "a.h5", augmented=True).augmented, varied)


def test_a_good_file_passes_the_check(tmp_path):
    write_features(tmp_path / "a.h5", make_features())
    assert check_features(tmp_path / "a.h5") == feature_space(make_features().provenance)


def spoil(path, what):
    with h5py.File(path, "r+") as file:
        if what == "a number":
            file["features"][2, 3] += 1e-3
        elif what == "a position":
            file["position"][2] += 1
        elif what == "no word of weights":
            file.close()
            rewrite_attributes(path, forget=["weights_sha256"])
        elif what == "no digest":
            del file.attrs["features_sha256"]
        elif what == "no digest of attributes":
            del file.attrs["record_sha256"]
        elif what == "an attribute":
            file.attrs["backbone"] = "c"
        elif what == "not a number":
            file["features"][0, 0] = np.nan
        elif what == "cut":
            file.close()
            path.write_bytes(path.read_bytes()[:-200])


@pytest.mark.parametrize(
    "what, said",
    [
        ("a number", "not those that were written"),
        ("a position", "not those that were written"),
        ("no word of weights", "does not say how it was made \\(no weights_sha256"),
        ("no digest", "a digest that it had was removed .features_sha256"),
        ("no digest of attributes", "a digest that it had was removed .record_sha256"),
        ("an attribute", "its attributes are not those that were written"),
        ("not a number", "not finite"),
        ("cut", "not a readable feature file"),
    ],
)
def test_the_check_finds_what_is_wrong(tmp_path, what, said):
    write_features(tmp_path / "a.h5", make_features())
    spoil(tmp_path / "a.h5", what)
    with pytest.raises(ItemError, match=said):
        check_features(tmp_path / "a.h5")


def test_the_check_finds_slices_that_are_all_alike_or_out_of_order(tmp_path):
    made = make_features()
    write_features(
        tmp_path / "a.h5",
        Features(np.repeat(made.features[:1], 5, 0), made.position, made.provenance),
    )
    with pytest.raises(ItemError, match="all slices have the same features"):
        check_features(tmp_path / "a.h5")
    write_features(
        tmp_path / "b.h5", Features(made.features, made.position[[0, 2, 1, 3, 4]], made.provenance)
    )
    with pytest.raises(ItemError, match="positions are not in order"):
        check_features(tmp_path / "b.h5")


def test_weights_differ_by_their_digest_and_not_by_their_name():
    made = feature_space(make_features().provenance)
    assert space_difference({**made, "weights": "file other"}, made) == ""
    assert (
        space_difference({**made, "weights_sha256": "z", "weights": "v"}, made)
        == "weights v, not w, weights_sha256 z, not x"
    )
    assert space_difference({**made, "precision": "bf16"}, made) == "precision bf16, not float32"


def test_numbers_that_are_not_those_that_were_written_are_refused_wherever_they_are_read(tmp_path):
    made = make_features()
    copies = np.random.default_rng(5).standard_normal((2, 5, 7)).astype(np.float32)
    for name in ("features", "position", "augmented"):
        write_features(tmp_path / "a.h5", replace(made, augmented=copies))
        with h5py.File(tmp_path / "a.h5", "r+") as file:
            file[name][-1] = file[name][-1] + 1e-3
        for augmented in (False, True):
            with pytest.raises(ItemError, match="not those that were written; embed the volume"):
                read_features(tmp_path / "a.h5", augmented)
    # A file of another program says nothing of its numbers, and is read.
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        del file.attrs["features_sha256"], file.attrs["record_sha256"]
    found = read_features(tmp_path / "a.h5")
    assert found.augmented is None and not found.has_digest
    # One of oa-embed always does.
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file.attrs["OatoolsSteps"] = '[{"tool": "oa-embed", "parameters": {"weights": "random"}}]'
    with pytest.raises(ItemError, match="a digest that it had was removed"):
        read_features(tmp_path / "a.h5")


@pytest.mark.parametrize(
    "keep, is_left",
    [(0, True), (5, True), (100, True), (0.5, True), (-1, True), (None, False)],
)
def test_the_ruins_of_a_feature_file_are_known(tmp_path, keep, is_left):
    path = tmp_path / "a.h5"
    write_features(path, make_features())
    whole = path.read_bytes()
    cut = int(len(whole) * keep) if isinstance(keep, float) else keep
    path.write_bytes(whole[:cut])
    assert read_recorded(path).is_ruin == is_left
    path.write_text("an essay")
    assert not read_recorded(path).is_ruin
    # Damage to what it says of itself: in the header, which HDF5 sees, and in a text, which it does not.
    for old, new in ((b"record_sha256", b"record_sha257"), (b'{"size"', b'["size"')):
        assert whole.count(old) == 1
        path.write_bytes(whole.replace(old, new))
        assert read_recorded(path).is_ruin
    with h5py.File(path, "w") as file:  # of another program
        file.attrs["said"] = '["size": 224}'
    assert not read_recorded(path).is_ruin and read_recorded(path).step is None
    assert not read_recorded(tmp_path / "none.h5").is_ruin
