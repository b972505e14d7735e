"""NIfTI headers written byte by byte, and what nibabel and SimpleITK read from the same files."""

import bz2
import gzip
import logging
import struct

import nibabel
import numpy as np
import pytest

from oatools.core.errors import ItemError
from oatools.imaging.volume import Volume, read_geometry, read_volume, write_volume

SHAPE = (6, 5, 4)
# i: left to right and a little back, j: up and back, k: forward and up; 1.5 x 1.5 x 3 mm
AFFINE = np.array(
    [
        [1.5, 0.0, 0.0, -138.0],
        [0.0, -0.9, 2.4, -36.0],
        [0.0, 1.2, 1.8, -45.0],
        [0.0, 0.0, 0.0, 1.0],
    ]
)
TURN = np.arctan2(1.2, -0.9)  # about x, from anterior to superior
QUATERNION = (np.sin(TURN / 2), 0.0, 0.0)
VOXELS = np.arange(120, dtype=np.int16).reshape(SHAPE, order="F") * 7

# Where the fields of NIfTI-1 stand, and in what form (nifti1.h).
FIELDS = {
    "sizeof_hdr": (0, "i"),
    "dim": (40, "8h"),
    "intent_code": (68, "h"),
    "datatype": (70, "h"),
    "bitpix": (72, "h"),
    "pixdim": (76, "8f"),
    "vox_offset": (108, "f"),
    "scl_slope": (112, "f"),
    "scl_inter": (116, "f"),
    "xyzt_units": (123, "B"),
    "descrip": (148, "80s"),
    "qform_code": (252, "h"),
    "sform_code": (254, "h"),
    "quatern": (256, "3f"),
    "qoffset": (268, "3f"),
    "srow": (280, "12f"),
    "magic": (344, "4s"),
}


def packed(fields, order="<"):
    head = bytearray(352)
    for name, value in fields.items():
        place, form = FIELDS[name]
        values = value if isinstance(value, tuple | list) else [value]
        struct.pack_into(order + form, head, place, *values)
    return bytes(head)


def usual(**changed):
    """The fields of a good header: a coronal volume of int16, placed by its sform."""
    return {
        "sizeof_hdr": 348,
        "dim": (3, *SHAPE, 1, 1, 1, 1),
        "datatype": 4,
        "bitpix": 16,
        "pixdim": (1, 1.5, 1.5, 3, 1, 1, 1, 1),
        "vox_offset": 352,
        "xyzt_units": 2,
        "sform_code": 1,
        "srow": AFFINE[:3].ravel().tolist(),
        "magic": b"n+1\0",
        **changed,
    }


def by_qform(**changed):
    """The same, placed by its qform: j and k turn the other way about x than a rotation would."""
    place = {"sform_code": 0, "qform_code": 1, "quatern": QUATERNION, "qoffset": (-138, -36, -45)}
    return usual(**{**place, "pixdim": (-1, 1.5, 1.5, 3, 1, 1, 1, 1), **changed})


@pytest.fixture
def put(tmp_path):
    """Write a header and voxels to a file, which is returned."""

    def write(fields, voxels=VOXELS, order="<", name="knee.nii"):
        path = tmp_path / name
        stored = voxels.astype(voxels.dtype.newbyteorder(order))
        path.write_bytes(packed(fields, order) + stored.tobytes("F"))
        return path

    return write


def by_itk(path):
    """Voxels and affine (RAS) as SimpleITK reads them."""
    import SimpleITK as sitk

    image = sitk.ReadImage(str(path))
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return sitk.GetArrayFromImage(image).T, np.diag([-1.0, -1, 1, 1]) @ affine


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("fields", [usual(), by_qform()], ids=["sform", "qform"])
def test_voxels_and_their_places_are_those_that_simpleitk_reads(put, fields, order):
    path = put(fields, order=order)
    volume = read_volume(path)
    voxels, affine = by_itk(path)
    assert np.array_equal(volume.data, VOXELS) and np.array_equal(voxels, VOXELS)
    assert volume.data.dtype == np.int16 and volume.data.dtype.isnative
    np.testing.assert_allclose(volume.affine, AFFINE, atol=1e-4)
    np.testing.assert_allclose(affine, AFFINE, atol=1e-4)
    assert np.array_equal(read_geometry(path).affine, volume.affine)


@pytest.mark.parametrize("code, factor", [(0, 1.0), (2, 1.0), (1, 0.001), (3, 1000.0), (2 + 8, 1)])
@pytest.mark.parametrize("form", [usual, by_qform])
def test_lengths_in_any_unit_come_out_in_millimetres(put, code, factor, form):
    fields = form(xyzt_units=code)
    for name in ("pixdim", "srow", "qoffset"):
        if name in fields:
            fields[name] = [value * factor for value in fields[name]]
    if form is by_qform:
        fields["pixdim"][0] = -1
    path = put(fields)
    np.testing.assert_allclose(read_volume(path).affine, AFFINE, rtol=1e-6, atol=1e-4)
    # Without the origin, which ITK before 5.4 leaves in the file's unit (its issue 4595).
    np.testing.assert_allclose(by_itk(path)[1][:3, :3], AFFINE[:3, :3], rtol=1e-5, atol=1e-5)


def test_nifti_2_is_read_as_nibabel_reads_it(tmp_path):
    image = nibabel.Nifti2Image(VOXELS, AFFINE)
    for name in ("knee.nii", "knee.nii.gz"):
        image.to_filename(tmp_path / name)
        volume = read_volume(tmp_path / name)
        assert np.array_equal(volume.data, VOXELS) and np.array_equal(volume.affine, AFFINE)


MIRRORED = np.diag([-1.0, 1, 1, 1]) @ AFFINE
MIRRORED[0, 3] += -138 - MIRRORED[0, :3] @ [5, 0, 0] - 138
NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    "changed, said",
    [
        ({"datatype": 0}, r"datatype 0 \(unknown\)"),
        ({"datatype": 1, "bitpix": 1}, r"datatype 1 \(single bits\)"),
        ({"datatype": 32, "bitpix": 64}, "complex64"),
        ({"datatype": 128, "bitpix": 24}, "colours"),
        ({"datatype": 1536, "bitpix": 128}, "long double"),
        ({"datatype": 2304, "bitpix": 32}, "colours"),
        ({"datatype": 16384}, "not in the standard"),
        ({"datatype": -4}, "not in the standard"),
        ({"bitpix": 32}, "contradicts itself: voxels are int16 .* 32 bits"),
        ({"dim": (-3, *SHAPE, 1, 1, 1, 1)}, "-3 dimensions"),
        ({"dim": (8, *SHAPE, 1, 1, 1, 1)}, "8 dimensions"),
        ({"dim": (3, -6, 5, 4, 1, 1, 1, 1)}, "-6 x 5 x 4 voxels"),
        ({"dim": (3, 6, 5, 0, 1, 1, 1, 1)}, "6 x 5 x 0 voxels"),
        ({"dim": (4, 6, 5, 2, 2, 1, 1, 1)}, r"4 dimensions \(6 x 5 x 2 x 2\)"),
        ({"dim": (5, 6, 5, 2, 1, 2, 1, 1)}, r"5 dimensions \(6 x 5 x 2 x 1 x 2\)"),
        ({"dim": (2, 30, 4, 1, 1, 1, 1, 1)}, "2 dimensions"),
        ({"dim": (3, 6, 5, 5, 1, 1, 1, 1)}, "cut short: 240 of 300 bytes"),
        ({"dim": (3, 6, 5, 3, 1, 1, 1, 1)}, "states 180 bytes of voxels, and 240 are there"),
        ({"dim": (3, 5, 5, 4, 1, 1, 1, 1)}, "states 200 bytes of voxels, and 240 are there"),
        ({"dim": (3, 32767, 32767, 32767, 1, 1, 1, 1)}, "cut short"),
        ({"pixdim": (1, 0, 1.5, 3, 1, 1, 1, 1)}, "no size .pixdim 0 x 1.5 x 3"),
        ({"pixdim": (1, 1.5, NAN, 3, 1, 1, 1, 1)}, "no size"),
        ({"pixdim": (1, 1, 1, 1, 1, 1, 1, 1)}, "1.5 x 1.5 x 3 mm by the sform, and 1 x 1 x 1 mm"),
        ({"vox_offset": 0}, "begin at byte 0"),
        ({"vox_offset": 351}, "begin at byte 351"),
        ({"vox_offset": 352.5}, "begin at byte 352.5"),
        ({"vox_offset": 1e12}, "cut short: 0 of 240"),
        ({"vox_offset": NAN}, "begin at byte nan"),
        ({"scl_slope": 2, "scl_inter": NAN}, "scaled by 2 and an intercept that is nan"),
        ({"scl_slope": 2, "scl_inter": INF}, "an intercept that is inf"),
        ({"scl_slope": 3e38}, "reach 2.49.*e.41, and float32 ends"),
        ({"scl_slope": 1e-38}, "float32 has too few digits"),
        ({"xyzt_units": 5}, "units of code 5"),
        ({"xyzt_units": 3}, "0.0015 x 0.0015 x 0.003 mm.* says micrometres"),
        ({"xyzt_units": 1}, "1500 x 1500 x 3000 mm.* says metres"),
        ({"sform_code": 0}, "neither sform nor qform"),
        ({"sform_code": 6}, "sform has code 6"),
        ({"qform_code": -1}, "qform has code -1"),
        ({"srow": [NAN] * 12}, "sform holds numbers that are not finite"),
        ({"srow": [0] * 12}, "singular"),
        ({"srow": [1.5, 1.5, 0, 0, 0, 1e-4, 0, 0, 0, 0, 3, 0]}, "singular"),
        ({"srow": [*AFFINE[0, :3], 1e9, *AFFINE[1], *AFFINE[2]]}, "1e.09 mm from the scanner"),
        ({"magic": b"ni1\0"}, "header is that of a pair"),
        ({"magic": b"\0\0\0\0"}, "an Analyze volume"),
        ({"magic": b"n+1\0", "sizeof_hdr": 0, "dim": (0,) * 8}, "neither its size nor"),
    ],
)
def test_a_header_that_cannot_be_followed_is_refused_in_one_line(put, changed, said):
    path = put(usual(**changed))
    with pytest.raises(ItemError, match=f"^{path}: .*{said}.*; ") as refused:
        read_volume(path)
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 300


@pytest.mark.parametrize(
    "changed, said",
    [
        ({"quatern": (0.9, 0.9, 0)}, "no rotation"),
        ({"quatern": (NAN, 0, 0)}, "qform holds numbers that are not finite"),
        ({"qoffset": (INF, 0, 0)}, "qform holds numbers that are not finite"),
        ({"pixdim": (1, -1.5, 1.5, 3, 1, 1, 1, 1)}, "voxels of negative size"),
        ({"pixdim": (NAN, 1.5, 1.5, 3, 1, 1, 1, 1)}, "handedness nan"),
        ({"pixdim": (0.5, 1.5, 1.5, 3, 1, 1, 1, 1)}, "handedness 0.5"),
        ({"sform_code": 1, "srow": MIRRORED[:3].ravel().tolist()}, "codes 1 and 1.* mm apart"),
        ({"sform_code": 4, "qoffset": (-138, -36, -43)}, r"codes 4 and 1.* up to 2 mm apart"),
    ],
)
def test_a_qform_that_cannot_be_followed_or_contradicts_the_sform_is_refused(put, changed, said):
    with pytest.raises(ItemError, match=said):
        read_geometry(put(by_qform(**changed)))


def test_forms_that_agree_to_half_a_voxel_count_as_one_and_the_sform_is_taken(put):
    path = put(by_qform(sform_code=2, qoffset=(-138, -36, -44.2)))
    np.testing.assert_allclose(read_volume(path).affine, AFFINE, atol=1e-5)


def test_a_handedness_of_0_counts_as_1_as_nifti_has_it(put):
    path = put(by_qform(pixdim=(0, 1.5, 1.5, 3, 1, 1, 1, 1)))
    right_handed = AFFINE @ np.diag([1, 1, -1, 1])
    np.testing.assert_allclose(read_volume(path).affine, right_handed, atol=1e-4)
    np.testing.assert_allclose(by_itk(path)[1], right_handed, atol=1e-4)


@pytest.mark.parametrize(
    "changed",
    [
        {"dim": (4, *SHAPE, 1, 1, 1, 1)},
        {"dim": (7, *SHAPE, 1, 1, 1, 1)},
        {"dim": (3, *SHAPE, 0, 0, 0, 0)},
        {"pixdim": (1, -1.5, 1.5, 3, NAN, 0, 0, 0)},  # the sform says which way, and this how far
        {"intent_code": 1002},
        {"bitpix": 0},
        {"sizeof_hdr": 0},
        {"descrip": b"Meyerhof 1950-02-03"},
        {"quatern": (NAN, NAN, NAN)},  # of a qform that is not set
    ],
)
def test_what_changes_nothing_is_read_all_the_same(put, changed):
    volume = read_volume(put(usual(**changed)))
    assert np.array_equal(volume.data, VOXELS) and np.allclose(volume.affine, AFFINE)


@pytest.mark.parametrize(
    "slope, intercept, wanted",
    [
        (0.0, 0.0, VOXELS),
        (0.0, 5.0, VOXELS),
        (NAN, NAN, VOXELS),
        (INF, 0.0, VOXELS),
        (-INF, NAN, VOXELS),
        (1.0, 0.0, VOXELS),
        (0.25, -3.0, VOXELS * 0.25 - 3),
        (-2.0, 0.0, VOXELS * -2.0),
        (1.0, 10.0, VOXELS + 10.0),
        (1.5e-8, 0.0, VOXELS * 1.5e-8),
    ],
)
def test_voxels_are_scaled_as_the_header_says(put, slope, intercept, wanted):
    path = put(usual(scl_slope=slope, scl_inter=intercept))
    data = read_volume(path).data
    assert data.dtype == (np.int16 if wanted is VOXELS else np.float32)
    np.testing.assert_allclose(data, wanted, rtol=1e-6)
    if np.isfinite([slope, intercept]).all() and slope != 0:
        np.testing.assert_allclose(by_itk(path)[0], wanted, rtol=1e-6)


TYPES = [
    (2, np.uint8, 200, np.uint8),
    (4, np.int16, -300, np.int16),
    (8, np.int32, 70000, np.int32),
    (16, np.float32, 0.5, np.float32),
    (64, np.float64, 0.5, np.float32),
    (256, np.int8, -100, np.int16),
    (512, np.uint16, 60000, np.uint16),
    (768, np.uint32, 30000, np.int16),
    (768, np.uint32, 60000, np.uint16),
    (768, np.uint32, 70000, np.int32),
    (768, np.uint32, 2**31, np.float32),
    (1024, np.int64, 32767, np.int16),
    (1024, np.int64, -32769, np.int32),
    (1024, np.int64, 2**40, np.float32),
    (1280, np.uint64, 65535, np.uint16),
    (1280, np.uint64, 2**63, np.float32),
]


@pytest.mark.parametrize("code, stored, value, wanted", TYPES)
def test_types_come_out_that_every_viewer_opens(put, tmp_path, code, stored, value, wanted):
    voxels = np.zeros(SHAPE, stored)
    voxels[2, 1, 3], voxels[0, 0, 0] = value, 3
    bits = 8 * voxels.dtype.itemsize
    for order in "<>":
        data = read_volume(put(usual(datatype=code, bitpix=bits), voxels, order)).data
        assert data.dtype == wanted and data[2, 1, 3] == value and data[0, 0, 0] == 3
    write_volume(tmp_path / "out.nii.gz", Volume(voxels, AFFINE))
    out = nibabel.load(tmp_path / "out.nii.gz")
    assert out.get_data_dtype() == wanted and np.array_equal(out.get_fdata(), data)
    assert np.array_equal(by_itk(tmp_path / "out.nii.gz")[0], data)


def test_a_mask_of_truths_is_written_as_bytes(tmp_path):
    write_volume(tmp_path / "mask.nii", Volume(VOXELS > 70, AFFINE))
    mask = nibabel.load(tmp_path / "mask.nii")
    assert mask.get_data_dtype() == np.uint8
    assert np.array_equal(mask.get_fdata(), VOXELS > 70)


@pytest.mark.parametrize("value", [1e39, -1e300, 1e-40])
def test_numbers_that_float32_cannot_hold_are_refused(put, value):
    path = put(usual(datatype=64, bitpix=64), VOXELS * value)
    with pytest.raises(ItemError, match="float32"):
        read_volume(path)


def test_voxels_that_are_not_finite_are_counted(put):
    voxels = VOXELS.astype(np.float64)
    voxels[0, 0, :3] = NAN, INF, -INF
    for code, data in ((64, voxels), (16, voxels.astype(np.float32))):
        path = put(usual(datatype=code, bitpix=8 * data.dtype.itemsize), data)
        with pytest.raises(ItemError, match="3 voxels are not finite"):
            read_volume(path)


def good_bytes():
    return packed(usual()) + VOXELS.tobytes("F")


@pytest.mark.parametrize(
    "name, content",
    [
        ("knee.nii.gz", gzip.compress(good_bytes())),
        ("knee.nii", gzip.compress(good_bytes())),
        ("knee.nii.gz", good_bytes()),
        ("knee.nii.bz2", bz2.compress(good_bytes())),
        ("knee.nii", good_bytes() + bytes(40)),  # filling
        ("knee.nii.gz", gzip.compress(good_bytes()[:300]) + gzip.compress(good_bytes()[300:])),
    ],
)
def test_a_file_is_what_its_bytes_say(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    volume = read_volume(tmp_path / name)
    assert np.array_equal(volume.data, VOXELS) and np.allclose(volume.affine, AFFINE)
    volume.data[0, 0, 0] = 1  # one's own copy
    assert (tmp_path / name).read_bytes() == content


LONG = gzip.compress(packed(usual()) + np.random.default_rng(0).bytes(240))


@pytest.mark.parametrize(
    "name, content, said",
    [
        ("knee.nii.gz", LONG[:-60], "cut short"),
        ("knee.nii.gz", LONG[:-8] + bytes(8), "CRC|damaged"),
        ("knee.nii.gz", LONG[:60], "cut short"),
        ("knee.nii.gz", LONG[:3], "cut short|Incomplete|damaged|magic"),
        ("knee.nii.gz", LONG[:100] + b"\xff" * 40 + LONG[140:], "damaged|CRC|cut short|invalid"),
        ("knee.nii", good_bytes()[:-1], "cut short: 239 of 240 bytes"),
        ("knee.nii", good_bytes() + b"\1", "states 240 bytes of voxels, and 241 are there"),
        ("knee.nii", good_bytes() + bytes(512), "240 bytes of voxels, and 752 are there"),
        ("knee.nii.gz", gzip.compress(good_bytes() + b"\1" * 1000), "and 1240 are there"),
        ("knee.nii", good_bytes()[:347], "cut short|no NIfTI header|Analyze"),
        ("knee.nii", b"", "it is empty"),
        ("knee.nii.gz", gzip.compress(b""), "it is empty"),
        ("knee.nii.zst", b"\x28\xb5\x2f\xfd" + bytes(99), "packed with zstd"),
        ("knee.nii.xz", b"\xfd7zXZ\0" + bytes(99), "packed with xz"),
        ("knee.nii", b"PK\x03\x04" + bytes(400), "ZIP archive"),
        ("knee.nii", bytes(128) + b"DICM" + bytes(400), "is DICOM"),
        ("knee.mgz", gzip.compress(b"\0\0\0\x01\0\0\0\x06" + bytes(400)), "FreeSurfer"),
        ("knee.nrrd", b"NRRD0004\n" + bytes(400), "NRRD"),
        ("knee.nii", b"\x89HDF\r\n\x1a\n" + bytes(400), "HDF5"),
        ("knee.nii", b"<!DOCTYPE html><title>log in</title>", "no NIfTI header"),
        ("knee.nii", b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        ("knee.img", good_bytes(), "no knee.hdr beside it"),
    ],
)
def test_a_damaged_file_or_one_of_another_form_is_refused_by_name(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ItemError, match=f"{name}: .*({said}).*; "):
        read_volume(tmp_path / name)


def test_a_folder_is_no_volume(tmp_path):
    with pytest.raises(ItemError, match="is a folder, not a volume; give the file"):
        read_geometry(tmp_path)


def test_a_pair_is_read_from_either_file_and_analyze_is_refused(tmp_path):
    nibabel.Nifti1Pair(VOXELS, AFFINE).to_filename(tmp_path / "pair.img")
    nibabel.AnalyzeImage(VOXELS, np.diag([-1.5, 1.5, 3, 1])).to_filename(tmp_path / "old.img")
    for name in ("pair.img", "pair.hdr"):
        assert np.array_equal(read_volume(tmp_path / name).data, VOXELS)
    for name in ("old.img", "old.hdr"):
        with pytest.raises(ItemError, match="an Analyze volume.* nothing in it says where left is"):
            read_volume(tmp_path / name)


@pytest.mark.parametrize("name", ["cut.nii", "cut.nii.gz"])
def test_the_header_alone_tells_the_geometry(tmp_path, name):
    head = packed(usual())
    (tmp_path / name).write_bytes(gzip.compress(head) if name.endswith(".gz") else head)
    assert np.allclose(read_geometry(tmp_path / name).affine, AFFINE)
    with pytest.raises(ItemError, match="cut short: 0 of 240"):
        read_volume(tmp_path / name)


def test_an_affine_with_shears_is_written_so_that_it_is_read_again(tmp_path):
    sheared = AFFINE.copy()
    sheared[:3, 2] += [2.0, 0, 0]
    write_volume(tmp_path / "sheared.nii", Volume(VOXELS, sheared))
    np.testing.assert_allclose(read_volume(tmp_path / "sheared.nii").affine, sheared, atol=1e-5)
    write_volume(tmp_path / "plain.nii", Volume(VOXELS, AFFINE))
    codes = [
        int(nibabel.load(tmp_path / name).header["qform_code"])
        for name in ("sheared.nii", "plain.nii")
    ]
    assert codes == [0, 1]


NUMBERS = (0, 1, -1, 2, 3, 4, 5, 8, 16, 64, 127, 255, 348, 352, 512, 540, 768, 1024, 1280, 1536)
REALS = (0, 1, -1, 0.5, -0.5, 1e-45, 1e-30, 1e30, 3e38, NAN, INF, -INF, 353, 352.5, 1e12)


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("forms", [(1, 0), (0, 1), (1, 1)])
def test_any_value_of_any_field_is_read_as_nibabel_reads_it_or_refused(tmp_path, kind, forms):
    """What is read differently is a micrometre, which nibabel leaves to its user."""
    image = kind(VOXELS, AFFINE)
    image.set_sform(AFFINE, code=forms[0])
    image.set_qform(AFFINE, code=forms[1])
    image.header.set_xyzt_units("mm")
    good, path, counts = image.to_bytes(), tmp_path / "knee.nii", {"read": 0, "refused": 0}
    logging.disable(logging.CRITICAL)  # of nibabel, which says what it repairs
    try:
        for changed in changes(good, kind.header_class.template_dtype):
            path.write_bytes(changed)
            try:
                volume = read_volume(path)
            except ItemError as refused:
                counts["refused"] += 1
                assert "\n" not in str(refused)
                continue
            counts["read"] += 1
            theirs = nibabel.load(path)
            np.testing.assert_allclose(volume.affine, theirs.affine, atol=1e-6)
            voxels = theirs.get_fdata().reshape(SHAPE)
            np.testing.assert_allclose(volume.data, voxels, rtol=1e-6, atol=1e-40)
    finally:
        logging.disable(logging.NOTSET)
    assert min(counts.values()) > 100


def changes(good, fields):
    """All files in which one number of one field is another."""
    for name in fields.names:
        form, place = fields.fields[name][:2]
        if form.base.kind == "S" or name in ("sizeof_hdr", "eol_check"):
            continue
        values = NUMBERS if form.base.kind in "iu" else REALS
        for at in range(place, place + form.itemsize, form.base.itemsize):
            for value in values:
                with np.errstate(over="ignore"):
                    stored = np.array(value).astype(form.base).tobytes()
                changed = good[:at] + stored + good[at + len(stored) :]
                if changed != good:
                    yield changed


def test_the_command_names_what_is_wrong_and_goes_on_with_the_others(put, shell, tmp_path):
    put(usual(descrip=b"Meyerhof"), name="1_00m_left_cor-iw-tse.nii")
    put(usual(datatype=2048, bitpix=256), name="2_00m_left_cor-iw-tse.nii")
    put(usual(sform_code=0), name="3_00m_left_cor-iw-tse.nii")
    with_extension = good_bytes()[:348] + b"\1\0\0\0" + struct.pack("<2i24s", 32, 6, b"Meyerhof")
    with_extension = with_extension[:108] + struct.pack("<f", 384) + with_extension[112:]
    path = tmp_path / "4_00m_left_cor-iw-tse.nii"
    path.write_bytes(with_extension + VOXELS.tobytes("F"))
    done = shell("oa-orient *.nii --side-check trust -o out --compress 0", status=1)
    lines = done.stderr.splitlines()
    assert "2_00m_left cor-iw-tse: " in lines[0] and "complex256" in lines[0]
    assert "3_00m_left cor-iw-tse: " in lines[1] and "neither sform nor qform" in lines[1]
    assert lines[2] == "oa-orient: 2 done, 0 kept, 2 failed"
    made = sorted(path for path in (tmp_path / "out").glob("*.nii"))
    assert [path.name[0] for path in made] == ["1", "4"]
    assert all(b"Meyerhof" not in path.read_bytes() for path in made)
    assert made[0].read_bytes() == made[1].read_bytes()
