"""Archives that are damaged, or were made to take all memory; what lies beside them goes on."""

import bz2
import gzip
import io
import os
import random
import struct
import subprocess
import tarfile
import zipfile
import zlib

import pytest

from oatools.core.errors import ItemError
from oatools.core.manifest import BadRow
from oatools.dicom import archives
from oatools.dicom.find import find_series
from oatools.dicom.stock import take_stock
from oatools.oai import release as oai

from ..conftest import read_in_2_gib

GIB = 1 << 30
ZEROS = gzip.compress(bytes(1 << 26), 9, mtime=0)  # may stand behind itself, as often as one likes


def member(name, size, kind=tarfile.REGTYPE):
    """The header of a file in a tar, as GNU writes it."""
    entry = tarfile.TarInfo(name)
    entry.size, entry.type = size, kind
    return entry.tobuf(tarfile.GNU_FORMAT)


def sparse(size, is_longer=False):
    """The header of a sparse file of GNU tar, which holds nothing (tar.h: struct oldgnu_header)."""
    head = bytearray(member("001", 0, tarfile.GNUTYPE_SPARSE))
    for place in range(386, 482, 24):
        head[place : place + 24] = b"00000000000\0" * 2
    head[482] = is_longer
    head[483:495] = b"\x80" + size.to_bytes(11, "big")
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head)


def zip_of(packed, method, stated):
    """A ZIP of one file (APPNOTE 4.3), of which is stated what one likes."""
    sizes = struct.pack("<III", 0, len(packed), stated)
    local = struct.pack("<IHHHHH", 0x04034B50, 20, 0, method, 0, 0) + sizes
    local += struct.pack("<HH", 3, 0) + b"001"
    entry = struct.pack("<IHHHHHH", 0x02014B50, 20, 20, 0, method, 0, 0) + sizes
    entry += struct.pack("<HHHHHII", 3, 0, 0, 0, 0, 0, 0) + b"001"
    end = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 1, 1, len(entry), len(local) + len(packed), 0)
    return local + packed + entry + end


def deflated_zeros(gib):
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    block = packer.compress(bytes(1 << 26)) + packer.flush(zlib.Z_FULL_FLUSH)
    return block * (16 * gib) + packer.flush()


MAP = gzip.compress((b"00000000000\0" * 42 + b"\1" + bytes(7)) * (1 << 12), 9, mtime=0)
GLOBAL = b"".join(b"13 k%06d=ab\n" % n for n in range(5000))
GLOBAL_HEADER = member("g", len(GLOBAL), tarfile.XGLTYPE) + GLOBAL + bytes(-len(GLOBAL) % 512)
NAMED = member("x", 5, tarfile.GNUTYPE_LONGNAME) + b"abcd\0" + bytes(507)

BOMBS = {
    "sparse.tar": (sparse(5 * GIB) + bytes(1024), "5368709120 bytes, which takes 15 GiB"),
    "sparse-map.tar.gz": (
        gzip.compress(sparse(1000, is_longer=True)) + 500 * MAP,
        "longer headers between its files than any has need of",
    ),
    "file.tar.gz": (
        gzip.compress(member("001", 5 * GIB)) + 80 * ZEROS,
        "5368709120 bytes, which takes 15 GiB",
    ),
    "pax.tar.gz": (
        gzip.compress(member("x", 3 * GIB, tarfile.XHDTYPE)) + 48 * ZEROS,
        "longer headers",
    ),
    "name.tar.gz": (
        gzip.compress(member("x", 3 * GIB, tarfile.GNUTYPE_LONGNAME)) + 48 * ZEROS,
        "longer headers",
    ),
    "global.tar.gz": (
        gzip.compress((GLOBAL_HEADER + member("001", 0)) * 20, 9) * 50,
        "longer headers",
    ),
    "names-of-names.tar.gz": (gzip.compress(NAMED * 20_000), "recursion"),
    "millions.tar.gz": (
        gzip.compress(member("001", 0) * 20_000, 9, mtime=0) * 50,
        "more than 50000 files",
    ),
    "empty-packets.tar.gz": (gzip.compress(b"", mtime=0) * 200_000, "empty file"),
    "states.zip": (zip_of(b"x", 0, 0xFFFFFFF0), "4294967280 bytes, which takes 12 GiB"),
    "lies.zip": (zip_of(deflated_zeros(3), 8, 1000), "Bad CRC-32"),
    "bzip2.zip": (zip_of(bz2.compress(bytes(1 << 28)), 12, 1000), "packed with bzip2"),
    "lzma.zip": (zip_of(b"x" * 50, 14, 1000), "packed with LZMA"),
}


@pytest.fixture(scope="module")
def refused(tmp_path_factory):
    """What a process that has 2 GiB for all says of the bombs, by their names."""
    folder = tmp_path_factory.mktemp("bombs")
    for name, (content, _) in BOMBS.items():
        assert len(content) < 25_000_000
        (folder / name).write_bytes(content)
    return read_in_2_gib("oatools.dicom.archives:members", folder)


@pytest.mark.parametrize("name", BOMBS)
def test_a_small_archive_takes_no_gigabytes_whatever_it_states_or_unpacks_to(refused, name):
    assert BOMBS[name][1] in refused[name]


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_and_headers_for_all_are_no_reason_to_refuse(tmp_path, form):
    names = [f"{'long ' * 40}{n:03d}" for n in range(300)]
    with tarfile.open(tmp_path / "a.tar", "w", format=form, pax_headers={"comment": "x"}) as out:
        for name in names:
            entry = tarfile.TarInfo(name)
            entry.size = 3
            out.addfile(entry, io.BytesIO(b"abc"))
    assert list(archives.members(tmp_path / "a.tar")) == [(name, b"abc") for name in names]


def test_a_sparse_file_is_read_with_its_holes(tmp_path):
    """GNU tar's own, where it is there."""
    with (tmp_path / "001").open("wb") as out:
        out.write(b"begin")
        out.truncate(1 << 20)
        out.seek(0, 2)
        out.write(b"end")
    call = ["tar", "--sparse", "-cf", "a.tar", "001"]
    if subprocess.run(call, cwd=tmp_path, check=False, capture_output=True).returncode:
        pytest.skip("no GNU tar")
    assert (tmp_path / "a.tar").stat().st_size < 1 << 18
    expected = b"begin" + bytes((1 << 20) - 5) + b"end"
    assert list(archives.members(tmp_path / "a.tar")) == [("001", expected)]


def test_an_archive_of_more_files_than_any_series_is_read_if_it_has_the_size(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_FILES", 3)
    noise = random.Random(0).randbytes(8000)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as out:
        for n in range(20):
            out.writestr(f"{n}", noise)
    assert len(list(archives.members(tmp_path / "a.zip"))) == 20


# A damaged archive never reads as a smaller one


THREE = b"".join(member(name, 3) + b"abc" + bytes(509) for name in ("001", "002", "003"))
END = bytes(1024)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (THREE[:1024] + b"0" * 512 + THREE[1536:] + END, "bad checksum"),
        (THREE[:1024] + b"\xff" + THREE[1025:] + END, "bad checksum"),
        (THREE[:1024] + THREE[1024:1524], "truncated header"),
        (THREE[:1024], "ends without the mark of its end"),
        (THREE, "ends without the mark of its end"),
        (THREE[:1024] + bytes(1024) + THREE[2048:] + END, "more behind the mark of its end"),
        (THREE[:1024] + bytes(512) + THREE[1536:] + END, "more behind the mark of its end"),
        (THREE + END + THREE + END, "more behind the mark of its end"),
        (THREE + END + bytes(20 << 20) + b"\1", "more behind the mark of its end"),
    ],
)
@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz"])
def test_a_damaged_tar_is_no_smaller_tar(tmp_path, content, said, name):
    pack = gzip.compress if name.endswith("gz") else bytes
    (tmp_path / name).write_bytes(pack(content))
    with pytest.raises(ItemError, match=said):
        list(archives.members(tmp_path / name))


@pytest.mark.parametrize("blocks", [1, 2, 20, 20_000])
def test_a_tar_may_be_filled_up_with_zeros(tmp_path, blocks):
    """GNU tar writes one block at least, two by the standard, and fills up to any size asked."""
    (tmp_path / "a.tar").write_bytes(THREE + bytes(512) * blocks)
    assert [name for name, _ in archives.members(tmp_path / "a.tar")] == ["001", "002", "003"]


@pytest.mark.parametrize("place", [-8, -5, -4, -1])
def test_the_checksum_and_the_length_of_gzip_are_read(tmp_path, place):
    """They are the last eight bytes (RFC 1952), behind the mark that ends the tar."""
    content = bytearray(gzip.compress(THREE + END))
    content[place] ^= 1
    (tmp_path / "a.tar.gz").write_bytes(content)
    with pytest.raises(ItemError, match="the archive cannot be read"):
        list(archives.members(tmp_path / "a.tar.gz"))


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz"])
def test_no_damage_anywhere_loses_a_file_without_a_word(tmp_path, name):
    noise = random.Random(1)
    files = [(f"{n:03d}", noise.randbytes(900)) for n in range(6)]
    packed_as = io.BytesIO()
    with tarfile.open(fileobj=packed_as, mode="w") as out:
        for file, data in files:
            entry = tarfile.TarInfo(file)
            entry.size = len(data)
            out.addfile(entry, io.BytesIO(data))
    whole = packed_as.getvalue()
    if name.endswith("gz"):
        whole = gzip.compress(whole, mtime=0)
    for place in range(0, len(whole), 13):
        for damaged in (
            whole[:place],
            whole[:place] + bytes(4) + whole[place + 4 :],
            whole[:place] + b"\xff" * 4 + whole[place + 4 :],
        ):
            (tmp_path / name).write_bytes(damaged)
            try:
                read = list(archives.members(tmp_path / name))
            except ItemError:
                continue
            # A plain tar has no checksum of its files' bytes; gzip has one of all.
            assert len(read) == 6, place
            assert name == "a.tar" or read == files, place


# What ends the listing of one place ends none of the others


def packed(folder, path):
    with tarfile.open(path, "w:gz") as out:
        out.add(folder, "a")


@pytest.fixture
def places(scan, tmp_path):
    """A folder of one good series and whatever a test puts beside it."""
    scan(tmp_path / "top" / "m", side="left", sequence="COR_IW_TSE")
    return tmp_path / "top"


def found_in(*places):
    rows = list(find_series([str(place) for place in places], oai))
    good = [row["path"] for row in rows if not isinstance(row, BadRow)]
    return good, {row.name: row.error for row in rows if isinstance(row, BadRow)}


# Where the packed bytes are changed, and to what: ISA-L has errors of its own.
DAMAGE = [(20, 170), (40, 255), (60, 0), (200, 85), (400, 255)]


@pytest.mark.parametrize(("place", "byte"), DAMAGE)
def test_a_damaged_archive_takes_nothing_with_it(scan, places, place, byte):
    packed(places / "m", places / "a.tar.gz")
    content = bytearray((places / "a.tar.gz").read_bytes())
    content[place : place + 4] = bytes([byte]) * 4
    for name in ("a", "z"):  # before and behind the good one
        (places / f"{name}.tar.gz").write_bytes(content)
    good, bad = found_in(places)
    assert good == [str(places / "m")]
    assert set(bad) == {str(places / "a.tar.gz"), str(places / "z.tar.gz")}
    assert all("the archive cannot be read (" in error for error in bad.values())


@pytest.mark.parametrize("name", ["b.tar.xz", "b.TXZ", "b.tar.bz2", "b.7z", "b.rar"])
def test_an_archive_of_another_packing_is_named_and_takes_nothing_with_it(places, name):
    (places / name).write_bytes(b"\xfd7zXZ\0")
    for good, bad in (found_in(places), found_in(places / name, places)):
        assert good == [str(places / "m")]
        assert list(bad) == [str(places / name)]
        assert "is not read" in bad[str(places / name)]


def test_pipes_and_links_to_themselves_stop_no_search(places):
    os.mkfifo(places / "pipe.tar.gz")
    os.mkfifo(places / "m" / "pipe")
    for folder in (places, places / "m"):
        (folder / "loop").symlink_to("loop")
    good, bad = found_in(places)
    assert (good, list(bad)) == ([str(places / "m")], [str(places / "pipe.tar.gz")])
    assert "is a pipe (FIFO)" in bad[str(places / "pipe.tar.gz")]


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("x" * 300, "File name too long"),
        ("x/" * 3000, "File name too long"),
        ("/dev/zero", "is a device"),
        ("nowhere", "no such file or folder"),
    ],
)
def test_a_place_that_cannot_be_looked_at_stops_no_other(places, place, said):
    good, bad = found_in(place, places)
    assert good == [str(places / "m")]
    assert said in bad[place]


def test_folders_deeper_than_can_be_followed_are_said(places):
    """Deeper than any path can name: the folders are made one within the other."""
    (places / "d").mkdir()
    here = os.open(places / "d", os.O_RDONLY)
    for _ in range(1100):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    try:
        good, bad = found_in(places)
    finally:
        subprocess.run(["rm", "-r", places / "d"], check=True)
    assert good == [str(places / "m")]
    assert len(bad) == 1 and list(bad.values()) == ["lies too deep"]


def test_what_nobody_foresaw_in_one_archive_is_a_failure_of_it_alone(places, monkeypatch):
    """An error of a library that is none of the usual ones."""
    packed(places / "m", places / "z.tar.gz")

    def broken(*_arguments, **_named):
        raise SystemError("error return without exception set")

    monkeypatch.setattr(tarfile, "open", broken)
    good, bad = found_in(places)
    assert good == [str(places / "m")]
    assert bad[str(places / "z.tar.gz")].startswith("the archive cannot be read (error return")


def test_a_link_to_itself_among_slices_is_a_slice_that_is_lost(places):
    (places / "m" / "099").symlink_to("099")
    with pytest.raises(ItemError, match="links that lead nowhere"):
        take_stock(places / "m")
