"""The cache of exported networks: whole ones of people that are trusted, and no others."""

import json
import multiprocessing
import os
import shutil
import stat
from pathlib import Path

import numpy as np
import pytest

from oatools.features import networkcache
from oatools.features.networkcache import NotKept, find, keep

MADE_FROM = {"backbone": "net", "seed": 3, "scale": 0.1}
RECORD = {"size": 224, "mean": [0.485, 0.456, 0.406]}


def save(folder: Path) -> None:
    (folder / "network0.xml").write_text("<net/>")
    (folder / "network0.bin").write_bytes(bytes(range(256)) * 40)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("OATOOLS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def kept(cache):
    keep(MADE_FROM, RECORD, save)
    (folder,) = cache.iterdir()
    return folder


def test_what_is_kept_is_found_by_what_it_was_made_from_alone(kept):
    found = find(MADE_FROM)
    assert [path.name for path in found.files] == ["network0.bin", "network0.xml"]
    assert found.record.values == RECORD
    assert find({**MADE_FROM, "seed": 4}) is None


def flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def test_no_bit_of_it_can_change_without_being_noticed(kept):
    for path in sorted(kept.iterdir()):
        content = path.read_bytes()
        for place in range(0, len(content), 97 if path.suffix == ".bin" else 1):
            path.write_bytes(flipped(content, place))
            assert find(MADE_FROM) is None, (path.name, place)
        path.write_bytes(content)
    assert find(MADE_FROM) is not None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "{}",
        "[" * 100_000,
        '{"files": []}',
        '{"files": {"/dev/zero": ""}, "made_from": 3, "sha256": 1e400}',
        '{"sha256": "\\ud800", "record": NaN}',
    ],
)
def test_a_record_may_say_anything(kept, text):
    (kept / "record.json").write_text(text)
    assert find(MADE_FROM) is None
    keep(MADE_FROM, RECORD, save)
    assert find(MADE_FROM).record.values == RECORD


def signed(kept, **changes):
    """Write a record with a right digest of its own."""
    import hashlib

    record = json.loads((kept / "record.json").read_text()) | changes
    del record["sha256"]
    text = json.dumps(record, sort_keys=True, separators=(",", ":"))
    record["sha256"] = hashlib.sha256(text.encode()).hexdigest()
    (kept / "record.json").write_text(json.dumps(record))


def test_files_are_those_of_its_own_folder(kept, tmp_path):
    files = json.loads((kept / "record.json").read_text())["files"]
    signed(kept)
    assert find(MADE_FROM) is not None  # so that the others fail for what they are about
    shutil.copy(kept / "network0.bin", tmp_path / "cache/network0.bin")
    signed(kept, files={"../network0.bin": files["network0.bin"]})
    assert find(MADE_FROM) is None
    os.mkfifo(kept / "pipe")
    signed(kept, files={**files, "pipe": ""})
    assert find(MADE_FROM) is None
    (kept / "pipe").unlink()
    signed(kept, files=files, made_from={**MADE_FROM, "seed": 4})
    assert find(MADE_FROM) is None


@pytest.mark.parametrize("mask, shared", [(0o022, True), (0o002, True), (0o077, False)])
def test_others_may_read_it_as_the_umask_says(cache, mask, shared):
    before = os.umask(mask)
    try:
        keep(MADE_FROM, RECORD, save)
    finally:
        os.umask(before)
    (folder,) = cache.iterdir()
    for path in (folder, *folder.iterdir()):
        mode = stat.S_IMODE(path.stat().st_mode)
        wanted = (0o775 if path == folder else 0o664) & ~mask
        assert mode == wanted, path
        assert bool(mode & stat.S_IROTH) is shared


def test_a_mask_that_lets_all_write_does_not_let_them_change_networks(cache):
    before = os.umask(0)
    try:
        keep(MADE_FROM, RECORD, save)
    finally:
        os.umask(before)
    assert find(MADE_FROM) is not None
    (folder,) = cache.iterdir()
    assert not [p for p in folder.rglob("*") if p.stat().st_mode & stat.S_IWOTH]
    (folder / "network0.bin").chmod(0o666)
    assert find(MADE_FROM) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize(
    "cache_mode, maker, taken",
    [
        (0o755, 4321, True),  # of somebody who was let in
        (0o2775, 4321, True),
        (0o1777, 0, True),
        (0o777, 4321, False),  # anybody
        (0o1777, 4321, False),
    ],
)
def test_strangers_are_not_trusted(cache, kept, cache_mode, maker, taken):
    for path in (kept, *kept.iterdir()):
        os.chown(path, maker, maker)
    cache.chmod(cache_mode)
    assert (find(MADE_FROM) is not None) is taken


@pytest.mark.parametrize("link", [True, False])
def test_a_link_in_place_of_it_is_not_followed(cache, kept, tmp_path, link):
    elsewhere = tmp_path / "elsewhere"
    kept.rename(elsewhere)
    if link:
        kept.symlink_to(elsewhere)
    else:
        shutil.copytree(elsewhere, kept)
    assert (find(MADE_FROM) is None) is link
    keep(MADE_FROM, RECORD, save) if not link else pytest.raises(
        NotKept, keep, MADE_FROM, RECORD, save
    )
    assert (elsewhere / "network0.bin").is_file()


def test_a_user_without_a_home_is_told(monkeypatch):
    for name in ("OATOOLS_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)

    def unknown():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", unknown)
    assert find(MADE_FROM) is None
    with pytest.raises(NotKept, match="the user has no home folder"):
        keep(MADE_FROM, RECORD, save)


def test_a_network_that_cannot_be_saved_leaves_nothing(cache, kept):
    def half(folder):
        save(folder)
        raise OSError(28, "No space left on device")

    whole = {path.name: path.read_bytes() for path in kept.iterdir()}
    with pytest.raises(NotKept, match="No space left on device"):
        keep({**MADE_FROM, "seed": 4}, RECORD, half)
    assert list(cache.iterdir()) == [kept]
    assert {path.name: path.read_bytes() for path in kept.iterdir()} == whole


def test_the_first_of_several_is_kept(kept):
    before = {path: path.stat().st_ino for path in kept.iterdir()}
    keep(MADE_FROM, RECORD, save)
    assert {path: path.stat().st_ino for path in kept.iterdir()} == before


def _keep_and_find(_: int) -> bool:
    rng = np.random.default_rng()
    for _ in range(20):
        keep(MADE_FROM, RECORD, save)
        found = find(MADE_FROM)
        if found is None:
            return False
        if rng.random() < 0.3:  # damage, which some of the others meet
            found.files[0].write_bytes(b"")
            keep(MADE_FROM, RECORD, save)
    return True


def test_several_at_once_leave_a_whole_one(cache):
    context = multiprocessing.get_context("fork")
    with context.Pool(4) as pool:
        pool.map(_keep_and_find, range(4))
    keep(MADE_FROM, RECORD, save)
    assert find(MADE_FROM) is not None
    assert len(list(cache.iterdir())) == 1
    assert networkcache.cache_folder() == cache
