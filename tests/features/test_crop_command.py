"""oa-embed --crop and --compartment, from volumes to feature files and messages."""

import json

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

from oatools.commands import embed, orient
from oatools.imaging.volume import Volume, read_volume, write_volume

from .knees import phantom

LEFT, RIGHT, COR = (
    "9000001_00m_left_sag-iw-tse",
    "9000001_00m_right_sag-iw-tse",
    "9000002_00m_left_cor-iw-tse",
)
THIGH, NAMELESS = "9000003_00m_left_sag-iw-tse", "scan"


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scans")
    made = {
        LEFT: phantom(1, "left"),
        RIGHT: phantom(1, "right"),
        COR: phantom(2, plane="coronal"),
        THIGH: phantom(3, signal="iw", off=(0, 0, 110)),
        NAMELESS: phantom(4, "right"),
    }
    for name, (volume, _) in made.items():
        write_volume(folder / f"{name}.nii.gz", volume)
    return folder


@pytest.fixture
def run(scans, tmp_path):
    """Embed scans, given by name, and return what was said with the attributes of the files."""

    def call(*names, options=(), out="f"):
        paths = [str(scans / f"{name}.nii.gz") for name in names]
        words = ["--backbone", "mobilenetv2_100", "--weights", "random", "--engine", "torch"]
        words += ["-o", str(tmp_path / out), *map(str, options), *paths]
        return CliRunner().invoke(embed.main, words)

    return call


def read(path):
    with h5py.File(path) as file:
        return file["features"][...], file["position"][...], dict(file.attrs)


def test_the_features_are_those_of_the_square_and_the_file_says_where_it_was(run, scans, tmp_path):
    done = run(LEFT, options=("--crop", 90, "--slices", 12))
    assert done.exit_code == 0, done.stderr
    features, position, attributes = read(tmp_path / "f" / f"{LEFT}.h5")
    place = json.loads(attributes["framing"])
    assert place["voxels"] == [75, 75] and place["clearness"] > 0.1  # 90 mm of 1.2 mm
    whole = read_volume(scans / f"{LEFT}.nii.gz")
    np.testing.assert_allclose(
        (whole.affine @ [*place["joint_voxel"], 1])[:3], place["joint_mm"], atol=0.05
    )
    i, j = place["first_voxel"]
    by_hand = tmp_path / f"{LEFT}.nii.gz"
    write_volume(by_hand, Volume(whole.data[i : i + 75, j : j + 75], whole.affine))
    words = ["--backbone", "mobilenetv2_100", "--weights", "random", "--engine", "torch"]
    words += ["--slices", "12", "-o", str(tmp_path / "hand"), str(by_hand)]
    assert CliRunner().invoke(embed.main, words).exit_code == 0
    expected, _, plain = read(tmp_path / "hand" / f"{LEFT}.h5")
    np.testing.assert_array_equal(features, expected)
    assert "framing" not in plain and len(position) == 12


def test_a_file_is_kept_with_the_same_crop_and_refused_with_another(run):
    options = ("--crop", 90, "--slices", 12)
    assert "1 done, 0 kept" in run(LEFT, options=options).stderr
    assert "0 done, 1 kept" in run(LEFT, options=options).stderr
    other = run(LEFT, options=("--crop", 100, "--slices", 12))
    assert other.exit_code == 1 and "crop 90, not 100" in other.stderr.replace(".0", "")
    assert run(LEFT, options=("--slices", 12)).exit_code == 1


def test_features_of_different_crops_do_not_belong_together(run, tmp_path):
    run(LEFT, options=("--slices", 12))
    run(RIGHT, options=("--slices", 12, "--crop", 90))
    files = [str(tmp_path / "f" / f"{name}.h5") for name in (LEFT, RIGHT)]
    done = CliRunner().invoke(embed.main, ["--check", *files])
    assert done.exit_code == 1 and "preprocessing crop 90.0, not none" in done.stderr


def test_a_volume_without_a_joint_is_one_failed_row(run, tmp_path):
    done = run(THIGH, LEFT, options=("--crop", 90, "--slices", 12))
    assert done.exit_code == 1 and "1 done, 0 kept, 1 failed" in done.stderr
    (said,) = [line for line in done.stderr.splitlines() if "9000003" in line]
    assert "no knee joint is found in its image" in said
    assert "leave out --crop and --compartment" in said
    assert not (tmp_path / "f" / f"{THIGH}.h5").exists()


def test_the_notch_is_spoken_of_once_and_only_where_it_is_taken(run):
    said = [line for line in run(LEFT, RIGHT, COR, options=("--slices", 4)).stderr.splitlines()]
    (about,) = [line for line in said if "notch" in line]
    assert "2 rows: " in about and "--compartment takes those of a compartment" in about
    done = run(LEFT, options=("--slices", 4, "--compartment", "both"), out="g")
    assert done.exit_code == 0 and "notch" not in done.stderr


def test_a_compartment_of_a_left_and_of_a_right_knee(run, scans, tmp_path):
    """A right one is the mirror image, so that its medial slices come last, those of a left first."""
    options = ("--slices", 4, "--compartment", "medial")
    assert run(LEFT, RIGHT, options=options).exit_code == 0
    for name, sign in ((LEFT, 1), (RIGHT, -1)):
        _, position, attributes = read(tmp_path / "f" / f"{name}.h5")
        place = json.loads(attributes["framing"])
        assert 10 < sign * (position.mean() - place["joint_mm"][0]) < 34
        assert len(place["slices"]) == 4 and attributes["first_slice"] == place["slices"][0]
    renamed = tmp_path / "f" / f"{LEFT}.h5"
    table = tmp_path / "t.tsv"
    table.write_text(
        f"knee\tside\tsequence\tpath\n9000001_00m_left\tright\tsag-iw-tse\t{scans / LEFT}.nii.gz\n"
    )
    before = renamed.read_bytes()
    words = ["--backbone", "mobilenetv2_100", "--weights", "random", "--engine", "torch"]
    words += ["-o", str(tmp_path / "f"), *map(str, options), str(table)]
    done = CliRunner().invoke(embed.main, words)
    assert done.exit_code == 1 and "side left, not right" in done.stderr
    assert renamed.read_bytes() == before


def test_without_a_side_a_row_fails_unless_oa_orient_was_told(run, scans, tmp_path):
    options = ("--slices", 4, "--compartment", "lateral")
    done = run(NAMELESS, LEFT, options=options)
    assert done.exit_code == 1 and "1 done, 0 kept, 1 failed" in done.stderr
    assert "scan: its side is not known" in done.stderr
    words = ["--side", "right", "-o", str(tmp_path / "oriented"), str(scans / "scan.nii.gz")]
    assert CliRunner().invoke(orient.main, words).exit_code == 0
    words = ["--backbone", "mobilenetv2_100", "--weights", "random", "--engine", "torch"]
    words += ["-o", str(tmp_path / "g"), *map(str, options)]
    done = CliRunner().invoke(embed.main, [*words, str(tmp_path / "oriented" / "scan.nii.gz")])
    assert done.exit_code == 0, done.stderr
    _, position, attributes = read(tmp_path / "g" / "scan.h5")
    assert attributes["side"] == "right"
    # Towards the right of the body; the slices run to the left where oa-orient mirrors.
    x = np.abs(position).mean()
    assert x > abs(json.loads(attributes["framing"])["joint_mm"][0]) + 10


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--crop", 5), "crop is 5; give --crop as 20 to 500 mm"),
        (("--crop", "nan"), "crop is nan"),
        (("--compartment", "both"), "say with --slices how many of each"),
        (("--compartment", "medial", "--range", 3, 5), "exclude each other"),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(run, options, said):
    done = run(LEFT, options=options)
    assert done.exit_code == 2 and said in done.stderr
