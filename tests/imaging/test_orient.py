import itertools
import json
import warnings

import nibabel
import numpy as np
import pytest

from oatools.core.errors import ItemError
from oatools.imaging import orient
from oatools.imaging.volume import Volume, read_volume, write_volume

PERMUTATIONS = [
    (axes, flips)
    for axes in itertools.permutations(range(3))
    for flips in itertools.product((False, True), repeat=3)
]
CANONICAL = {
    ("coronal", "left"): "RSA",
    ("coronal", "right"): "LSA",
    ("sagittal", "left"): "ASR",
    ("sagittal", "right"): "ASL",
    ("axial", "left"): "RAS",
    ("axial", "right"): "LAS",
}


def knee(side, oblique=True):
    """A RAS volume of a knee on its own side of the patient, with a marker on the medial side, near the front."""
    rng = np.random.default_rng(1)
    data = rng.integers(1, 100, (8, 10, 12)).astype(np.int16)
    turn = np.radians(9.0 if oblique else 0.0)
    rotation = np.array(
        [[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]]
    )
    affine = np.eye(4)
    affine[:3, :3] = rotation @ np.diag([14.0, 3.0, 1.5])
    x = -95.0 if side == "left" else 95.0
    affine[:3, 3] = np.array([x, 10, -5]) - affine[:3, :3] @ ((np.array(data.shape) - 1) / 2)
    medial = (
        7 if side == "left" else 0
    )  # towards the midline: to the patient's right in a left knee
    data[medial, 8, 3] = 1000
    return Volume(data, affine)


def world(volume, index):
    return volume.affine[:3, :3] @ np.array(index) + volume.affine[:3, 3]


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("plane", ["coronal", "sagittal", "axial"])
def test_medial_comes_out_at_the_same_place_from_all_48_axis_orders(plane, side):
    original = knee(side)
    marker = world(original, np.argwhere(original.data == 1000)[0])
    expected_shape = {"coronal": (8, 12, 10), "sagittal": (10, 12, 8), "axial": (8, 10, 12)}[plane]
    place = {"coronal": (7, 3, 8), "sagittal": (8, 3, 7), "axial": (7, 8, 3)}[plane]
    for axes, flips in PERMUTATIONS:
        scrambled = orient.apply(original, orient.Orientation(axes, flips))
        result = orient.apply(scrambled, orient.canonical(scrambled, plane, side))
        assert result.data.shape == expected_shape
        assert tuple(np.argwhere(result.data == 1000)[0]) == place
        assert "".join(nibabel.aff2axcodes(result.affine)) == CANONICAL[plane, side]
        np.testing.assert_allclose(world(result, place), marker, atol=1e-9)


def marked(volume, side):
    """A volume with a block of the highest value on the medial side: towards the midline, where x (RAS) is nearest 0."""
    data = np.asarray(volume.data).astype(np.int16)
    first = int(np.argmax(np.abs(volume.affine[0, :3] / volume.spacing)))
    towards_right = volume.affine[0, first] > 0
    medial_end = towards_right == (side == "left")
    index = [n // 2 for n in data.shape]
    index[first] = data.shape[first] - 3 if medial_end else 2
    data[tuple(slice(i - 1, i + 2) for i in index)] = 30000
    return Volume(data, volume.affine)


def medial_in_every_axis_order(volume, side, plane):
    """Where the marker comes out along the lateral-to-medial axis, 0 to 1, from all 48 orders and flips of the input."""
    across = {"coronal": 0, "sagittal": 2}[plane]
    for axes, flips in PERMUTATIONS:
        scrambled = orient.apply(volume, orient.Orientation(axes, flips))
        orient.check_side(scrambled, side)
        result = orient.apply(scrambled, orient.canonical(scrambled, plane, side))
        places = np.argwhere(result.data == 30000)
        yield float(places[:, across].mean()) / (result.shape[across] - 1), places


@pytest.mark.parametrize("plane", ["coronal", "sagittal"])
def test_the_medial_side_of_phantom_knees_comes_out_last_from_all_48_axis_orders(release, plane):
    from oatools.dicom.convert import convert

    folders = sorted(release.glob("00m/0.E.1/*/*/*"))
    for folder, side in ((folders[0], "left"), (folders[1], "right")):
        volume = marked(convert(folder)[0], side)
        found = list(medial_in_every_axis_order(volume, side, plane))
        assert all(place > 0.9 for place, _ in found)
        assert all(np.array_equal(places, found[0][1]) for _, places in found)


@pytest.mark.parametrize("plane", ["coronal", "sagittal"])
def test_the_medial_side_of_a_real_knee_comes_out_last_from_all_48_axis_orders(unpacked, plane):
    from oatools.dicom.convert import convert

    (folder,) = {path.parent for path in unpacked("knee/knee01_right_GE_DESS").rglob("*.dcm")}
    scan = convert(folder)[0]
    right = marked(
        Volume(scan.data[::4, ::4], scan.affine @ np.diag([4.0, 4.0, 1.0, 1.0])), "right"
    )
    mirror = np.diag([-1.0, 1.0, 1.0, 1.0])  # the same knee on the other side of the patient
    for volume, side in ((right, "right"), (Volume(right.data, mirror @ right.affine), "left")):
        found = list(medial_in_every_axis_order(volume, side, plane))
        assert all(place > 0.9 for place, _ in found)
        assert all(np.array_equal(places, found[0][1]) for _, places in found)


@pytest.mark.parametrize("axes, flips", PERMUTATIONS)
def test_undoing_an_orientation_restores_voxels_and_affine(axes, flips):
    volume = knee("right")
    orientation = orient.Orientation(axes, flips)
    back = orient.apply(orient.apply(volume, orientation), orient.inverse(orientation))
    assert np.array_equal(back.data, volume.data)
    np.testing.assert_allclose(back.affine, volume.affine, atol=1e-10)


@pytest.mark.parametrize("axes, flips", PERMUTATIONS[::5])
def test_the_result_is_what_nibabel_gives(axes, flips):
    volume = orient.apply(knee("left"), orient.Orientation(axes, flips))
    ours = orient.apply(volume, orient.canonical(volume, "axial", "left"))
    theirs = nibabel.as_closest_canonical(nibabel.Nifti1Image(volume.data, volume.affine))
    assert np.array_equal(ours.data, np.asarray(theirs.dataobj))
    np.testing.assert_allclose(ours.affine, theirs.affine, atol=1e-12)


def test_the_other_reference_mirrors_left_knees_instead():
    for side, codes in (("left", "LSA"), ("right", "RSA")):
        volume = knee(side)
        result = orient.apply(volume, orient.canonical(volume, "coronal", side, reference="right"))
        assert "".join(nibabel.aff2axcodes(result.affine)) == codes
        assert np.argwhere(result.data == 1000)[0][0] == 0


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("sequence, plane", [("sag-3d-dess", "sagittal"), (None, "sagittal")])
def test_one_call_orients_a_knee(side, sequence, plane):
    found = orient.to_canonical(knee(side), side, sequence=sequence)
    assert "".join(nibabel.aff2axcodes(found.affine)) == CANONICAL[plane, side]
    assert tuple(np.argwhere(found.data == 1000)[0]) == (8, 3, 7)


def test_one_call_takes_the_other_reference_and_the_users_word_for_the_side():
    found = orient.to_canonical(knee("right"), "right", reference="right", sequence="sag-iw-tse")
    assert "".join(nibabel.aff2axcodes(found.affine)) == CANONICAL["sagittal", "left"]
    with pytest.raises(ItemError, match="side_check") as error:
        orient.to_canonical(knee("right"), "left")
    said = error.value.text({"side_check": "--side-check"})
    assert said.endswith("let --side-check be warn or trust")
    with pytest.warns(UserWarning, match="the side was given as left, .* 95 mm to the right"):
        warned = orient.to_canonical(knee("right"), "left", side_check="warn")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trusted = orient.to_canonical(knee("right"), "left", side_check="trust")
    for found in (warned, trusted):
        assert "".join(nibabel.aff2axcodes(found.affine)) == CANONICAL["sagittal", "left"]
    with pytest.raises(ItemError, match="the check of the side is 'no'"):
        orient.to_canonical(knee("right"), "right", side_check="no")


@pytest.mark.parametrize("word", ["Left", "RIGHT", "n/a", ""])
def test_a_side_that_is_no_side_is_refused_instead_of_mirrored(word):
    volume = knee("left")
    for check in ("fail", "warn", "trust"):
        with pytest.raises(ItemError, match=f"the side is '{word}'; give left or right"):
            orient.to_canonical(volume, word, side_check=check)
    with pytest.raises(ItemError, match=f"the side is '{word}'; give left or right"):
        orient.canonical(volume, "coronal", word)
    with pytest.raises(ItemError, match=f"the reference side is '{word}'; give left or right"):
        orient.to_canonical(volume, "left", reference=word)


def test_a_side_that_the_geometry_contradicts_is_refused_with_both_facts():
    with pytest.raises(
        ItemError, match=r"the table says left, but the volume's centre lies 95 mm to the right"
    ):
        orient.check_side(knee("right"), "left")
    orient.check_side(knee("right"), "right")


def test_a_volume_near_the_midline_tells_no_side():
    volume = knee("left", oblique=False)
    volume.affine[0, 3] += 80
    assert orient.side_of(volume) is None
    orient.check_side(volume, "right")


def test_a_volume_of_both_knees_is_refused():
    affine = np.diag([1.0, 1.0, 3.0, 1.0])
    affine[0, 3] = -200
    with pytest.raises(ItemError, match="both knees"):
        orient.check_side(Volume(np.zeros((400, 20, 10), np.int16), affine), "left")


@pytest.mark.parametrize(
    "sequence, plane", [("cor-iw-tse", "coronal"), ("sag-3d-dess", "sagittal"), ("ax-mpr", "axial")]
)
def test_the_plane_comes_from_the_sequence(sequence, plane):
    assert orient.plane_of(knee("left"), sequence) == plane


@pytest.mark.parametrize(
    "spacing, axes, name, found",
    [
        # A sagittal DESS that was converted with --name cor-iw-tse, and the other way round.
        ([0.36, 0.46, 1.5], [1, 2, 0], "cor-iw-tse", "1.5 mm apart, are sagittal"),
        ([0.36, 0.36, 3.0], [0, 2, 1], "sag-3d-dess", "3.0 mm apart, are coronal"),
        # Turned by another program, so that the slices lie across the first axis.
        ([3.0, 0.36, 0.36], [1, 0, 2], "sag-iw-tse", "3.0 mm apart, are coronal"),
        ([0.5, 0.5, 4.0], [0, 1, 2], "cor-t2-map", "4.0 mm apart, are axial"),
    ],
)
def test_a_plane_that_the_name_contradicts_is_refused(spacing, axes, name, found):
    affine = np.zeros((4, 4))
    affine[axes, [0, 1, 2]] = spacing
    affine[3, 3] = 1
    volume = Volume(np.zeros((8, 8, 8), np.int16), affine)
    with pytest.raises(ItemError, match=found):
        orient.check_plane(volume, name)
    with pytest.raises(ItemError, match="correct the column 'sequence'"):
        orient.to_canonical(volume, "left", sequence=name, side_check="trust")


def test_of_slices_that_could_lie_anyhow_the_name_is_believed():
    nearly_isotropic = Volume(np.zeros((8, 8, 8), np.int16), np.diag([0.5, 0.5, 0.7, 1.0]))
    orient.check_plane(nearly_isotropic, "cor-3d-dess")
    orient.check_plane(Volume(nearly_isotropic.data, np.diag([0.5, 0.5, 4, 1.0])), "t2-map")


def test_without_a_sequence_the_plane_is_across_the_coarsest_axis():
    assert orient.plane_of(knee("left"), "n/a") == "sagittal"
    isotropic = Volume(np.zeros((4, 4, 4), np.int16), np.eye(4)[[0, 2, 1, 3]])
    assert orient.plane_of(isotropic, "n/a") == "coronal"


def test_a_volume_keeps_voxel_type_and_geometry_through_a_file(tmp_path):
    volume = knee("left")
    write_volume(tmp_path / "a.nii.gz", volume)
    image = nibabel.load(tmp_path / "a.nii.gz")
    assert image.get_data_dtype() == np.int16
    assert np.array_equal(np.asarray(image.dataobj), volume.data)
    np.testing.assert_allclose(image.get_sform(), volume.affine, atol=1e-4)
    np.testing.assert_allclose(image.get_qform(), volume.affine, atol=1e-4)
    assert (int(image.header["sform_code"]), image.header.get_xyzt_units()[0]) == (1, "mm")


def test_the_same_volume_gives_the_same_bytes_under_any_name(tmp_path):
    for name in ("a.nii.gz", "b.nii.gz"):
        write_volume(tmp_path / name, knee("left"))
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda d: np.where(d > 50, np.nan, d), "voxels are not finite"),
        (lambda d: np.stack([d, d], axis=-1), r"4 dimensions \(8 x 10 x 12 x 2\)"),
        (lambda d: d[:, :, 0], "2 dimensions"),
        (lambda d: d.astype(np.complex64), "complex64"),
    ],
)
def test_a_volume_that_cannot_be_used_is_refused_with_the_reason(write_volume, change, said):
    path = write_volume("x.nii.gz", change(knee("left").data.astype(np.float32)))
    with pytest.raises(ItemError, match=said):
        read_volume(path)


@pytest.mark.parametrize("content", [b"", b"not a volume", "half"])
def test_a_damaged_file_is_refused(write_volume, content, tmp_path):
    path = write_volume("x.nii.gz", knee("left").data)
    path.write_bytes(path.read_bytes()[:200] if content == "half" else content)
    with pytest.raises(ItemError, match="not a readable NIfTI volume"):
        read_volume(path)


def test_a_trailing_axis_of_one_is_dropped_and_scaling_applied(write_volume, tmp_path):
    image = nibabel.Nifti1Image(np.arange(8, dtype=np.int16).reshape(2, 2, 2, 1), np.eye(4))
    image.header.set_slope_inter(0.5, 1.0)
    nibabel.save(image, tmp_path / "s.nii.gz")
    volume = read_volume(tmp_path / "s.nii.gz")
    raw = np.asarray(nibabel.load(tmp_path / "s.nii.gz").get_fdata())
    assert volume.data.shape == (2, 2, 2)
    np.testing.assert_allclose(volume.data, raw[..., 0])


CHECKS = [  # options of oa-orient; status; what is said of a right knee that its name calls left
    (
        "",
        1,
        "it counts as a left knee, but the volume's centre lies 95 mm to the right of the midline",
    ),
    ("--side-check fail", 1, "say which with --side, or check how the scan was positioned"),
    (
        "--side-check warn",
        0,
        "warning: it counts as a left knee, but the volume's centre lies 95 mm",
    ),
    ("--side-check trust", 0, None),
    ("--no-side-check", 0, "warning: --no-side-check is now called --side-check trust"),
]


@pytest.mark.parametrize("options, status, said", CHECKS)
def test_what_a_contradiction_of_side_and_place_does_is_the_users_choice(
    shell, tmp_path, rows, options, status, said
):
    write_volume(tmp_path / "9000099_00m_left_sag-iw-tse.nii.gz", knee("right"))
    done = shell(f"oa-orient *.nii.gz -o out {options}", status=status)
    found = rows(done.stdout)
    assert len(found) == (0 if status else 1)
    lines = done.stderr.splitlines()
    assert len(lines) == (1 if said is None else 2)
    assert said is None or said in lines[0]
    if not status:
        # Taken for a left knee: RAS order, not mirrored.
        image = nibabel.load(tmp_path / found[0]["path"])
        assert "".join(nibabel.aff2axcodes(image.affine)) == CANONICAL["sagittal", "left"]
        again = shell(f"oa-orient *.nii.gz -o out {options}")
        assert "1 kept" in again.stderr and len(again.stderr.splitlines()) == len(lines)


def test_a_contradiction_names_who_said_the_side(shell, tmp_path):
    write_volume(tmp_path / "scan.nii.gz", knee("right"))
    (tmp_path / "t.tsv").write_text("knee\tside\tpath\nk\tleft\tscan.nii.gz\n")
    by_hand = shell("oa-orient scan.nii.gz --side left -o out", status=1).stderr
    assert "scan: the side was given as left, but the volume's centre lies 95 mm" in by_hand
    assert "correct --side, or check how" in by_hand
    assert "the table says left" in shell("oa-orient t.tsv -o out", status=1).stderr
    assert "given as left" in shell("oa-orient t.tsv --side left -o out", status=1).stderr


@pytest.mark.parametrize(
    "given, source",
    [
        ("t.tsv", "stated"),
        ("scan.nii.gz --side right", "option"),
        ("t.tsv --side geometry", "geometry"),
    ],
)
def test_the_sidecar_says_the_side_and_who_said_it(shell, tmp_path, rows, given, source):
    write_volume(tmp_path / "scan.nii.gz", knee("right"))
    (tmp_path / "t.tsv").write_text("knee\tside\tpath\nscan\tright\tscan.nii.gz\n")
    shell(f"oa-orient {given} -o out")
    fields = json.loads((tmp_path / "out" / "scan.json").read_text())
    assert fields["Side"] == "right" and fields["OatoolsSteps"][-1]["side_from"] == source
    # It passes through the next command, whose rows have the side again.
    (found,) = rows(shell("oa-n4 out/scan.nii.gz -o n4").stdout)
    assert found["side"] == "right"
    passed = json.loads((tmp_path / "n4" / "scan.json").read_text())
    assert passed["OatoolsSteps"][0]["side_from"] == source
    assert "1 kept" in shell("oa-orient t.tsv -o out").stderr


def test_a_scan_near_the_midline_passes_every_check(shell, tmp_path):
    volume = knee("right", oblique=False)
    volume.affine[0, 3] -= 85  # its centre lies 10 mm from the midline
    write_volume(tmp_path / "9000099_00m_left_sag-iw-tse.nii.gz", volume)
    for check in ("fail", "warn", "trust"):
        done = shell(f"oa-orient *.nii.gz -o {check} --side-check {check}")
        assert len(done.stderr.splitlines()) == 1


def test_the_check_and_its_former_name_are_not_given_together(shell, tmp_path):
    done = shell("oa-orient x.nii.gz -o out --side-check warn --no-side-check", status=2)
    assert "both are given; give --side-check alone" in done.stderr
    assert "--no-side-check" not in shell("oa-orient --help").stdout
