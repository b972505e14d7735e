import io
import struct
import tarfile
import zipfile

import pytest

from oatools.core.errors import ItemError
from oatools.dicom import archives


def tar_of(path, *entries):
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as opened:
        for name, content, kind in entries:
            entry = tarfile.TarInfo(name)
            entry.type, entry.size = kind, len(content)
            entry.linkname = "/etc/passwd" if kind != tarfile.REGTYPE else ""
            opened.addfile(entry, io.BytesIO(content))
    return path


def test_only_regular_files_come_out_and_nothing_is_written(tmp_path):
    hostile = tar_of(
        tmp_path / "a.tar.gz",
        ("../up", b"1", tarfile.REGTYPE),
        ("/absolute", b"2", tarfile.REGTYPE),
        ("link", b"", tarfile.SYMTYPE),
        ("hard", b"", tarfile.LNKTYPE),
        ("pipe", b"", tarfile.FIFOTYPE),
        ("dir", b"", tarfile.DIRTYPE),
        ("./001", b"3", tarfile.REGTYPE),
    )
    assert list(archives.members(hostile)) == [
        ("../up", b"1"),
        ("/absolute", b"2"),
        ("./001", b"3"),
    ]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.tar.gz"]


def test_a_tar_that_states_a_huge_file_is_refused_before_it_is_read(tmp_path):
    entry = tarfile.TarInfo("001")
    entry.size = 9 << 30
    (tmp_path / "bomb.tar").write_bytes(entry.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    with pytest.raises(ItemError, match="9663676416 bytes, which takes 27 GiB"):
        list(archives.members(tmp_path / "bomb.tar"))


def test_a_zip_that_states_a_huge_file_is_refused(tmp_path):
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        for n in range(3):
            opened.writestr(f"{n:03d}", b"x")
    content = bytearray(path.read_bytes())
    start = -1
    while (
        start := content.find(b"PK\x01\x02", start + 1)
    ) >= 0:  # the sizes in the central directory
        content[start + 24 : start + 28] = struct.pack("<I", 0xFFFFFFF0)
    path.write_bytes(content)
    with pytest.raises(ItemError, match="4294967280 bytes, which takes 12 GiB"):
        list(archives.members(path))


def test_a_zip_that_holds_more_than_it_states_gives_no_more_than_it_states(tmp_path):
    path = tmp_path / "liar.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("001", bytes(10_000_000))
    content = bytearray(path.read_bytes())
    start = content.find(b"PK\x01\x02")
    content[start + 24 : start + 28] = struct.pack("<I", 1000)
    path.write_bytes(content)
    with pytest.raises(ItemError, match="cannot be read"):
        list(archives.members(path))


def test_too_many_files_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_FILES", 3)
    path = tar_of(tmp_path / "a.tar", *((f"{n}", b"", tarfile.REGTYPE) for n in range(4)))
    with pytest.raises(ItemError, match="more than 3 files"):
        list(archives.members(path))


@pytest.mark.parametrize("name", ["a.tar.gz", "a.tgz", "a.tar", "a.zip"])
@pytest.mark.parametrize("content", [b"", b"nothing of the kind" * 50, "half"])
def test_a_damaged_archive_is_a_failure_with_its_reason(tmp_path, name, content):
    path = tmp_path / name
    if content == "half":
        if name == "a.zip":
            with zipfile.ZipFile(path, "w") as opened:
                opened.writestr("001", bytes(range(256)) * 40)
        else:
            tar_of(tmp_path / "x.tar.gz", ("001", bytes(range(256)) * 40, tarfile.REGTYPE)).rename(
                path
            )
            if name == "a.tar":
                tar_of(path, ("001", bytes(range(256)) * 40, tarfile.REGTYPE))
        content = path.read_bytes()[: path.stat().st_size // 2]
    path.write_bytes(content)
    with pytest.raises(ItemError, match="the archive cannot be read .*download it again"):
        list(archives.members(path))
