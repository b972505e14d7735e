"""One damaged input among good ones: a line and no output of it, or the right result; never anything else.

It is tried in a forked child of a process that has the libraries loaded (see `zygotes`), which takes a small part of
a second. What looks wrong there is tried again by the command itself, and only what is wrong there is a finding.
"""

import json
import random
import re
import shutil
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from stress.foreign import damage_series
from stress.readers import EVERYTHING, READERS, ROWS, Reader
from stress.runs import BIN, FORKED_SECONDS, LOADING_SECONDS, Outcome, wrongs
from stress.stand import KNEE, Stand, expect_success, snapshot
from stress.trial import Place, Trial, Verdict

_SECONDS = FORKED_SECONDS + LOADING_SECONDS


def trials() -> list[Trial]:
    """Each reader as often as its share says."""
    found = []
    for reader in READERS:
        if (BIN / reader.words.split()[0]).exists():
            run, build = partial(_fuzz, reader), partial(_build, reader)
            family = reader.words.split()[0]
            found += [Trial("fuzz", f"fuzz {reader.name}", run, build, family)] * reader.share
    return found


def _build(reader: Reader, stand: Stand) -> None:
    """Lay the inputs of a reader, and see what comes of them undamaged."""
    folder = _folder(stand, reader)
    if (folder / "undamaged.json").exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    place = Place(folder).make()
    reader.lay(stand, place.work)
    shutil.copytree(place.work, folder / "laid", symlinks=True)
    done = stand.call(_words(reader, place.work), place, reader.cache)
    expect_success(reader.words, done)
    given = {"out": done.out.decode(), "files": snapshot(place.work)}
    shutil.rmtree(place.work)
    (folder / "undamaged.json").write_text(json.dumps(given))


def _fuzz(reader: Reader, stand: Stand, place: Place, chance: random.Random) -> Verdict:
    state = chance.getstate()
    verdict = _try(reader, stand, place, chance, as_process=False)
    if not verdict.found:
        return verdict
    again = Place(place.root / "again").make()
    chance.setstate(state)
    return _try(reader, stand, again, chance, as_process=True)


def _try(
    reader: Reader, stand: Stand, place: Place, chance: random.Random, as_process: bool
) -> Verdict:
    folder = _folder(stand, reader)
    shutil.copytree(folder / "laid", place.work, symlinks=True, dirs_exist_ok=True)
    choice = sorted(path for path in place.work.glob(reader.damaged) if not path.is_symlink())
    if reader.damage is not damage_series:
        choice = [path for path in choice if path.is_file() and path.stat().st_size]
    victim = chance.choice(choice)
    before = victim.read_bytes() if victim.is_file() else b""
    reader.damage(victim, chance)
    if victim.is_file() and victim.read_bytes() == before:
        return Verdict([])
    words = _words(reader, place.work)
    done = stand.call(words, place, reader.cache, forked=not as_process)
    found = _judge(reader, stand, place, victim, done)
    return Verdict(found, clean_error=done.status in (1, 2) and not found)


@dataclass(frozen=True)
class _Aftermath:
    """What a run left and printed beside a damaged input, and what it would have without the damage."""

    reader: Reader
    damaged: str  # the name of the input
    laid_folder: Path
    expected: dict[str, str]
    expected_rows: list[str]
    folder: Path
    rows: list[str]

    def depends(self, text: str) -> bool:
        """Whether a row or a file, by its name, is made of the damaged input."""
        return self.reader.item is None or self.reader.item in text

    def lost(self) -> list[str]:
        """Rows and files of the good inputs that are not there, or not as ever."""
        lost = [row for row in self.expected_rows if not self.depends(row) and row not in self.rows]
        found = [f"{len(lost)} good rows are lost"] if lost else []
        for name, digest in self.expected.items():
            if not self.depends(name) and name != self.damaged and self.files.get(name) != digest:
                found.append(f"{name} of a good row is lost or another")
        return found

    def left(self) -> list[str]:
        """Files that are new, and made of the damaged input."""
        known = (*self.laid, self.damaged)
        return [name for name in self.files if not name.startswith(known) and self.depends(name)]

    def unfaithful(self) -> list[str]:
        """What is not as if nothing had been damaged, where that is to be told from the input."""
        faithful = self.reader.faithful
        if faithful is None:
            return []
        found = []
        if faithful in (ROWS, EVERYTHING) and self.rows != self.expected_rows:
            found.append("status 0, and another table")
        if faithful == ROWS:
            return found
        for name, digest in self.expected.items():
            if not self.depends(name) or not name.endswith(faithful) or self._is_input(name):
                continue
            if self.files.get(name) != digest and not self.says_the_same(name):
                found.append(f"status 0, and {name} is another")
        return found

    @cached_property
    def laid(self) -> dict[str, str]:
        return snapshot(self.laid_folder)

    @cached_property
    def files(self) -> dict[str, str]:
        return snapshot(self.folder)

    def _is_input(self, name: str) -> bool:
        """What was laid and is no output of a run before."""
        return name in self.laid and not name.startswith(("out/", "page/", "new/"))

    def says_the_same(self, name: str) -> bool:
        """Whether a file of a run before says what it said."""
        path, before = self.folder / name, self.laid_folder / name
        if not path.exists() or not before.exists():
            return False
        try:
            return _content(path) == _content(before)
        except Exception:  # damaged files make readers raise what they like
            return False


def _content(path: Path) -> Any:
    """What a file says, whatever the encoding of its text or the bytes between its parts."""
    if path.suffix == ".json":
        return json.loads(path.read_bytes())
    if path.suffix != ".h5":
        return path.read_bytes()
    import h5py

    with h5py.File(path) as file:
        numbers = {name: (str(file[name].dtype), file[name][()].tobytes()) for name in file}
        return numbers, {name: str(value) for name, value in file.attrs.items()}


def _judge(reader: Reader, stand: Stand, place: Place, victim: Path, done: Outcome) -> list[str]:
    folder = _folder(stand, reader)
    expected = json.loads((folder / "undamaged.json").read_text())
    name = str(victim.relative_to(place.work))
    rows = done.out.decode(errors="replace").splitlines()
    after = _Aftermath(
        reader,
        name,
        folder / "laid",
        expected["files"],
        expected["out"].splitlines(),
        place.work,
        rows,
    )
    found = wrongs(done, seconds=_SECONDS) + _harm(victim, done) + after.lost()
    if done.status != 0:
        found += _badly_failed(reader, victim, done)
        if not reader.goes_on:
            found += [f"fails, and leaves {file}" for file in after.left()]
    elif reader.is_noticed and not after.says_the_same(name):
        found.append("it is damaged, and nothing is said")
    else:
        found += after.unfaithful()
    return [f"{name}: {text}" for text in found]


def _harm(victim: Path, done: Outcome) -> list[str]:
    """What no damaged file may do, whichever command reads it."""
    found = []
    if "out of memory" in done.err:
        found.append("runs out of memory")
    if (victim.parent / "ran").exists():
        found.append("a program in it was run")
    if re.search(rb"\t(nan|-?inf)\t[01]$", done.out, re.M):
        found.append("a probability is no number")
    return found


def _badly_failed(reader: Reader, victim: Path, done: Outcome) -> list[str]:
    known = [victim.name.split(".")[0], reader.item or victim.name]
    if KNEE in victim.name:
        known.append(KNEE)
    if victim.suffix in (".tsv", ".csv", ".txt"):
        # A row that is wrong is called by its first cell.
        lines = victim.read_text(errors="replace").splitlines()
        known += [cell for line in lines if len(cell := re.split("[\t,]", line)[0].strip()) > 3]
    if reader.words.startswith("oa-label new/tables"):
        known.append("new/tables")  # a table without its header is not known for one
    if victim.suffix == ".safetensors":
        # A whole model, and of other features than these.
        known.append("not hold the features that the model was trained on")
    said = done.err + done.out.decode(errors="replace")  # oa-check prints the bad ones
    if any(text in said for text in known):
        return []
    return [f"{victim.name} is not named: {_said(done)}"]


def _said(done: Outcome) -> str:
    return " / ".join(done.err.strip().splitlines()[-3:])[:300] or "(nothing said)"


def _words(reader: Reader, work: Path) -> str:
    volumes = " ".join(sorted(path.name for path in work.glob("*.nii")))
    return reader.words.replace("{nii}", volumes)


def _folder(stand: Stand, reader: Reader) -> Path:
    return stand.folder / "readers" / reader.name
