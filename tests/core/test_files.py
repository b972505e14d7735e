import contextlib
import dataclasses
import errno
import fcntl
import hashlib
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from oatools.core import files, provenance
from oatools.core.errors import ItemError, UsageError
from oatools.core.replacing import Replace
from oatools.core.signals import unwinding


def test_the_digest_of_a_record_is_that_of_its_json_in_order_without_itself():
    record = {"b": [1, "\u00e9"], "seal": "x", "a": {"d": None, "c": 1.5}}
    text = b'{"a":{"c":1.5,"d":null},"b":[1,"\\u00e9"]}'
    assert files.record_digest(record, "seal") == hashlib.sha256(text).hexdigest()
    assert files.unsealed(record, "seal") == {"b": record["b"], "a": record["a"]}


def test_a_file_that_is_gone_when_the_last_of_several_is_written_is_an_error(tmp_path, monkeypatch):
    first, last = tmp_path / "first", tmp_path / "last"
    outputs = {"--compare": (first, b"one"), "--figure": (last, b"two")}
    write_bytes = files.write_bytes

    def remove_and_write(path, content):
        first.unlink(missing_ok=True)
        write_bytes(path, content)

    monkeypatch.setattr(files, "write_bytes", remove_and_write)
    with pytest.raises(FileNotFoundError, match="removed while others were written") as caught:
        files.write_outputs(outputs)
    assert caught.value.filename == first
    monkeypatch.undo()
    files.write_outputs(outputs)
    assert (first.read_bytes(), last.read_bytes()) == (b"one", b"two")


def test_a_file_appears_only_once_it_is_whole(tmp_path):
    target = tmp_path / "a.txt"
    with files.atomic(target) as stream:
        stream.write(b"wh")
        assert not target.exists()
        stream.write(b"ole")
    assert target.read_text() == "whole"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(ZeroDivisionError), files.atomic(target) as stream:
        stream.write(b"half")
        raise ZeroDivisionError
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def mode_of(path):
    return stat.S_IMODE(Path(path).stat().st_mode)


@pytest.mark.parametrize("umask,file,folder", [(0o022, 0o644, 0o755), (0o007, 0o660, 0o770)])
def test_files_and_folders_have_the_permissions_that_the_umask_leaves(
    tmp_path, umask, file, folder
):
    before = os.umask(umask)
    try:
        files.write_text(tmp_path / "a.txt", "a")
        with files.scratch_folder(tmp_path) as made:
            made.rename(tmp_path / "kept")
        with files.scratch(tmp_path) as stream, files.scratch_folder(tmp_path, 0o700) as private:
            assert mode_of(stream.name) == file and mode_of(private) == 0o700
    finally:
        os.umask(before)
    assert mode_of(tmp_path / "a.txt") == file and mode_of(tmp_path / "kept") == folder


def test_temporary_names_are_never_the_same_twice_and_say_nothing_of_target_or_host(tmp_path):
    names = set()
    for _ in range(50):
        with files.under_way(tmp_path / "secret.txt") as file:
            names.add(file.temporary.name)
    assert len(names) == 50
    assert not [name for name in names if "secret" in name or socket.gethostname() in name]


def test_a_link_at_a_temporary_name_is_never_followed(tmp_path, monkeypatch):
    """Not even by somebody who has guessed 64 random bits."""
    monkeypatch.setattr(files, "_temporary_name", lambda: ".oatools-guessed")
    victim, planted = tmp_path / "victim", tmp_path / "shared" / ".oatools-guessed"
    victim.write_text("precious")
    planted.parent.mkdir()
    planted.symlink_to(victim)
    with pytest.raises(FileExistsError) as caught:
        files.write_text(tmp_path / "shared" / "a.txt", "a")
    assert caught.value.filename == str(tmp_path / "shared" / "a.txt")
    planted.unlink()
    planted.symlink_to(tmp_path / "new")  # nor one that leads nowhere
    with pytest.raises(FileExistsError):
        files.write_text(tmp_path / "shared" / "a.txt", "a")
    assert victim.read_text() == "precious" and not (tmp_path / "new").exists()
    assert sorted(os.listdir(tmp_path / "shared")) == [".oatools-guessed"]


def test_a_file_that_is_exchanged_while_it_is_written_gets_no_name(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    with (
        pytest.raises(FileNotFoundError, match="was removed while it was written"),
        files.under_way(tmp_path / "a.txt") as file,
    ):
        file.stream.write(b"ours")
        file.temporary.unlink()
        file.temporary.symlink_to(victim)
        file.finish()
        file.publish()
    assert victim.read_text() == "precious" and os.listdir(tmp_path) == ["victim"]


def test_a_folder_that_is_removed_while_a_file_is_written_is_an_error_that_names_the_file(
    tmp_path,
):
    target = tmp_path / "out" / "a.txt"
    with pytest.raises(OSError) as caught, files.atomic(target) as stream:
        stream.write(b"a")
        shutil.rmtree(target.parent)
        target.parent.mkdir()
    assert caught.value.filename == str(target) and os.listdir(target.parent) == []


def _interrupted(work, step):
    """Do work that is unwound at its so-manieth step in the code of files; False where it has fewer."""
    left = step

    def each_step(frame, event, _):
        nonlocal left
        frame.f_trace_opcodes = True
        left -= event in ("opcode", "return")
        if not left:
            sys.settrace(None)
            signal.raise_signal(signal.SIGTERM)  # to this thread, and so before it goes on
        return each_step

    def calls(frame, *_):
        is_ours = frame.f_code.co_filename in (files.__file__, contextlib.__file__)
        return each_step(frame, "call", None) if is_ours else None

    with contextlib.suppress(SystemExit), unwinding():
        sys.settrace(calls)
        try:
            work()
        finally:
            sys.settrace(None)
    return left <= 0


def _write_a_file(folder):
    files.write_bytes(folder / "a.txt", b"whole")


def _write_the_first_file(folder):
    files.write_first(folder / "a.txt", b"whole")


def _make_a_folder(folder):
    with files.scratch_folder(folder) as made:
        (made / "b.txt").write_bytes(b"whole")
        made.rename(folder / "a.txt")


@pytest.mark.parametrize("work", [_write_a_file, _write_the_first_file, _make_a_folder])
def test_a_signal_at_any_step_leaves_no_temporary_file(tmp_path, work):
    """Also between the making of a file and the block that would remove it."""
    files.write_text(tmp_path / "before" / "z.txt", "z")
    step = 1
    while _interrupted(partial(work, tmp_path / str(step)), step):
        folder = tmp_path / str(step)
        assert not folder.exists() or os.listdir(folder) in ([], ["a.txt"]), step
        if (folder / "a.txt").is_file():
            assert (folder / "a.txt").read_bytes() == b"whole"
        step += 1
    assert step > 300


def test_a_forked_process_does_not_remove_its_parents_files(tmp_path):
    with files.under_way(tmp_path / "a.txt") as file:
        pid = os.fork()
        if pid == 0:
            files.remove_own()
            os._exit(0)
        os.waitpid(pid, 0)
        assert file.temporary.exists()


def test_a_file_that_is_there_is_not_written_a_first_time(tmp_path):
    assert files.write_first(tmp_path / "a.txt", b"one", private=True)
    assert not files.write_first(tmp_path / "a.txt", b"two")
    assert (tmp_path / "a.txt").read_bytes() == b"one" and mode_of(tmp_path / "a.txt") == 0o600
    assert os.listdir(tmp_path) == ["a.txt"]


def test_where_files_have_no_second_name_the_first_still_wins(tmp_path, monkeypatch):
    def no_links(*_):
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", no_links)
    assert files.write_first(tmp_path / "a.txt", b"one", private=True)
    assert not files.write_first(tmp_path / "a.txt", b"two")
    assert (tmp_path / "a.txt").read_bytes() == b"one" and mode_of(tmp_path / "a.txt") == 0o600
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_shared_file_that_leads_nowhere_is_refused(tmp_path):
    (tmp_path / "a.tsv").symlink_to(tmp_path / "none" / "b.tsv")
    with (
        pytest.raises(UsageError, match="a.tsv is a link that leads nowhere"),
        files.shared(tmp_path / "a.tsv", b"header\n"),
    ):
        pass
    assert not (tmp_path / "none").exists()


_HOLDER = """
import sys
from oatools.core import files
with files.scratch(sys.argv[1]) as stream, files.scratch_folder(sys.argv[1]) as folder:
    (folder / "a").write_text("a")
    print(stream.name, folder, flush=True)
    sys.stdin.read()
"""


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_writes_is_not(
    tmp_path, monkeypatch
):
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, tmp_path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    held = [Path(name) for name in holder.stdout.readline().split()]
    monkeypatch.setattr(files, "_swept", set())
    files.write_text(tmp_path / "a.txt", "a")
    assert all(path.exists() for path in held)
    holder.kill()
    holder.communicate()
    files.write_text(tmp_path / "b.txt", "b")  # this process has looked already
    assert all(path.exists() for path in held)
    monkeypatch.setattr(files, "_swept", set())
    files.write_text(tmp_path / "c.txt", "c")
    assert sorted(os.listdir(tmp_path)) == ["a.txt", "b.txt", "c.txt"]


def test_what_another_machine_left_in_a_shared_folder_is_removed_once_it_is_old(tmp_path):
    fresh, old = tmp_path / ".oatools-0badcafe-11", tmp_path / ".oatools-0badcafe-22"
    link = tmp_path / ".oatools-0badcafe-33"
    others = tmp_path / ".other-0badcafe-44"
    for path in (fresh, old, others):
        path.write_text("part")
    link.symlink_to(fresh)
    for path in (old, others):
        os.utime(path, (0, 0))
    files.write_text(tmp_path / "a.txt", "a")
    assert sorted(os.listdir(tmp_path)) == [fresh.name, link.name, others.name, "a.txt"]


def test_where_the_kernel_is_not_known_what_is_fresh_may_be_of_another(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_kernel", lambda: "00000000")
    (tmp_path / ".oatools-00000000-11").write_text("part")
    files.write_text(tmp_path / "a.txt", "a")
    assert sorted(os.listdir(tmp_path)) == [".oatools-00000000-11", "a.txt"]


def test_one_at_a_time_is_alone_in_a_folder(tmp_path):
    other = os.open(tmp_path, os.O_RDONLY)
    with files.alone_in(tmp_path), pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(other)


def replace_content(path):
    new = path.with_name("new")
    new.write_text("2")
    new.replace(path)


@pytest.mark.parametrize(
    "change",
    [replace_content, lambda path: path.write_text("22"), Path.unlink, lambda path: os.utime(path)],
)
def test_a_file_that_changes_between_two_looks_is_noticed(tmp_path, change):
    path, folder = tmp_path / "in" / "a", tmp_path / "in"
    folder.mkdir()
    path.write_text("1")
    os.utime(path, (0, 0))
    seen = files.Snapshot.of(path)
    seen_in_folder = files.Snapshot.of(folder)
    seen.require()
    change(path)
    for snapshot, name in ((seen, path), (seen_in_folder, folder)):
        with pytest.raises(ItemError) as caught:
            snapshot.require()
        assert caught.value.reason == f"{name} was changed while it was read"


def test_a_file_digest_is_that_of_hashlib(tmp_path):
    content = os.urandom(3_000_000)
    (tmp_path / "a").write_bytes(content)
    assert files.digest(tmp_path / "a") == hashlib.sha256(content).hexdigest()


def test_a_folder_digest_knows_names_and_bytes_but_not_times(tmp_path):
    (tmp_path / "a").write_text("1")
    (tmp_path / "b").write_text("2")
    first = files.tree_digest(tmp_path)
    os.utime(tmp_path / "a", (0, 0))
    assert files.tree_digest(tmp_path) == first
    (tmp_path / "a").write_text("12")
    (tmp_path / "b").write_text("")
    assert files.tree_digest(tmp_path) != first


def make(tmp_path, parameters, content="in"):
    (tmp_path / "in").write_text(content)
    return provenance.step("oa-n4", parameters, tmp_path / "in")


def kept(target, recorded, wanted, **more):
    return provenance.step_is_done(target, wanted, lambda: recorded, **more)


def test_work_is_kept_only_for_the_same_input_and_settings(tmp_path):
    target = tmp_path / "out.nii"
    wanted = make(tmp_path, {"shrink": 4, "levels": (1, 2)})
    assert not kept(target, None, wanted)
    target.touch()
    assert kept(target, wanted, make(tmp_path, {"shrink": 4, "levels": (1, 2)}))
    with pytest.raises(ItemError, match=r"other settings \(shrink 4, not 8\)"):
        kept(target, wanted, make(tmp_path, {"shrink": 8, "levels": (1, 2)}))
    with pytest.raises(ItemError, match="another input"):
        kept(target, wanted, make(tmp_path, {"shrink": 4, "levels": (1, 2)}, content="other"))
    with pytest.raises(ItemError, match="does not say how it was made"):
        kept(target, None, wanted)
    assert not kept(target, None, wanted, replacing=Replace.ANYTHING)


def test_to_update_what_the_command_made_otherwise_is_made_again_and_nothing_else(tmp_path):
    target = tmp_path / "out.nii"
    wanted = make(tmp_path, {"shrink": 4})
    update = {"replacing": Replace.OUTDATED}
    assert not kept(target, None, wanted, **update)
    target.touch()
    assert kept(target, wanted, wanted, **update)
    assert not kept(target, wanted, make(tmp_path, {"shrink": 8}), **update)
    assert not kept(target, wanted, make(tmp_path, {"shrink": 4}, content="other"), **update)
    with pytest.raises(ItemError, match="was made by another tool"):
        kept(target, dataclasses.replace(wanted, tool="oa-orient"), wanted, **update)
    with pytest.raises(ItemError, match="does not say how it was made"):
        kept(target, None, wanted, **update)


def test_work_of_another_version_is_kept(tmp_path):
    target = tmp_path / "out.nii"
    target.touch()
    wanted = make(tmp_path, {})
    assert kept(target, dataclasses.replace(wanted, version="0.0.1"), wanted)


def test_a_step_is_recorded_in_plain_json_and_read_back(tmp_path):
    """Written out literally: the record is a format that other programs read."""
    (tmp_path / "a.nii").write_bytes(b"")
    made = provenance.step("oa-n4", {"spans": (1, 2)}, tmp_path / "a.nii")
    recorded = made.to_json()
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert recorded.pop("version")
    assert recorded == {
        "tool": "oa-n4",
        "parameters": {"spans": [1, 2]},
        "input": {"name": "a.nii", "sha256": empty},
    }
    with_results = {**made.to_json(), "shrink": [4, 4, 1]}
    assert provenance.Step.from_json(with_results).to_json() == with_results


@pytest.mark.parametrize("steps", [None, 3, "oa-n4", [None, 1, {}, {"tool": 5}], {"tool": "oa-n4"}])
def test_steps_that_are_none_of_ours_are_no_steps(steps):
    found = provenance.Provenance.from_fields({"OatoolsSteps": steps})
    assert found.last is None
    assert found.orientation() is None and found.bias_correction() is None
    assert found.preparation() == ()


def test_outputs_that_may_be_written_pass(tmp_path):
    old = tmp_path / "old.tsv"
    old.write_text("old")
    files.check_outputs({"compare": tmp_path / "new.tsv", "figure": None}, [old, "-"])
    files.check_outputs({"compare": old}, force=True)


@pytest.mark.parametrize(
    "names,inputs,force,said",
    [
        (["old.tsv"], [], False, "first {0}/old.tsv exists; use force to replace it"),
        (["in.tsv"], ["in.tsv"], True, "first {0}/in.tsv: {0}/in.tsv is also read"),
        (["."], [], True, "a plain file is needed"),
        (["new.tsv", "sub/../new.tsv"], [], False, "second {0}/sub/../new.tsv: first writes"),
    ],
)
def test_outputs_that_would_do_harm_are_refused(tmp_path, names, inputs, force, said):
    for name in ("old.tsv", "in.tsv"):
        (tmp_path / name).write_text(name)
    (tmp_path / "sub").mkdir()
    outputs = dict(zip(("first", "second"), [tmp_path / name for name in names], strict=False))
    with pytest.raises(UsageError) as caught:
        files.check_outputs(outputs, [tmp_path / name for name in inputs], force)
    assert said.format(tmp_path) in str(caught.value)
    assert (tmp_path / "old.tsv").read_text() == "old.tsv"


def test_an_output_that_is_an_input_by_another_name_is_refused(tmp_path):
    (tmp_path / "in.tsv").write_text("in")
    (tmp_path / "folder").symlink_to(tmp_path)
    (tmp_path / "soft.tsv").symlink_to(tmp_path / "in.tsv")
    os.link(tmp_path / "in.tsv", tmp_path / "hard.tsv")
    for name in ("./in.tsv", "folder/in.tsv", "soft.tsv", "hard.tsv"):
        with pytest.raises(UsageError, match="is also read"):
            files.check_outputs({"first": Path(f"{tmp_path}/{name}")}, [tmp_path / "in.tsv"], True)
    twice = {"first": tmp_path / "new.tsv", "second": tmp_path / "folder" / "new.tsv"}
    with pytest.raises(UsageError, match="first writes"):
        files.check_outputs(twice)


def test_standard_output_is_not_an_output_file(tmp_path):
    with pytest.raises(UsageError, match="first -: a plain file is needed"):
        files.check_outputs({"first": Path("-")}, force=True)
