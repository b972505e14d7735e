"""The folder of a page that browsers open: whether one may stay, and how a new one takes its place.

Nothing is removed but what such a page consists of. Answers that readers have saved there, or
anything else, keep the page from being replaced.
"""

import errno
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oatools.core.checksums import NAME as CHECKSUMS
from oatools.core.checksums import read_checksums, write_checksums
from oatools.core.errors import ItemError, UsageError
from oatools.core.files import (
    alone_in,
    is_still_at,
    is_temporary,
    naming,
    scratch_folder,
    write_new,
)

#: The content of a page.
STUDY = "study.js"
#: What stands around the content.
_START, _END = "reading.study(", ");\n"
_MOST_BYTES = 1 << 26  # of the content


@dataclass(frozen=True)
class PageForm:
    """What the folder of a kind of page holds.

    `what` names the kind in messages; `assets` are the files that every page has beside its
    content; `volume` is the pattern of the names of its volumes, relative to the folder, and
    `items` the part of the content that names them.
    """

    what: str
    assets: tuple[str, ...]
    volume: re.Pattern[str]
    items: str


#: The page on which readers see pairs.
READING = PageForm(
    "reading page",
    ("index.html", "reader.css", "reader.js"),
    re.compile(r"volumes/\d+-[AB]-\d+\.js"),
    "pairs",
)


def write_study(folder: Path, study: dict[str, Any]) -> None:
    """Write the content of a page into its folder."""
    # ASCII, so that no encoding can go wrong, and no markup even if somebody pastes it into a page.
    script = json.dumps(study, ensure_ascii=True, indent=1).replace("<", "\\u003c")
    write_new(folder / STUDY, f"{_START}{script}{_END}".encode("ascii"))


def read_study(folder: Path) -> dict[str, Any]:
    """Return the content of a page; empty where there is none that can be read."""
    path = folder / STUDY
    if not path.is_file() or path.stat().st_size > _MOST_BYTES:
        return {}
    try:
        text = path.read_text(encoding="ascii")
        study = json.loads(text.removeprefix(_START).removesuffix(_END))
    except (OSError, ValueError, RecursionError):
        return {}
    return study if text.startswith(_START) and isinstance(study, dict) else {}


def damage_of(folder: Path) -> str:
    """Say what has become of a page since it was made; empty for one that is whole."""
    try:
        known = read_checksums(folder)
    except ItemError as error:
        return error.reason
    if known is None:
        return f"{folder / CHECKSUMS} is missing"
    for name in known.listed:
        damage = known.damage_of(name)
        if damage:
            return f"{folder / name} {damage}"
    return ""


def require_free(out_dir: Path, form: PageForm = READING) -> None:
    """Raise a `UsageError` where a page cannot go: a folder that holds anything but such a page."""
    if not out_dir.exists() or _is_empty(out_dir):
        return
    if not is_page(out_dir, form):
        raise UsageError(
            f"{out_dir} exists and is no {form.what}, and is not replaced",
            "choose another `out_dir`",
        )
    foreign = _foreign(out_dir, form)
    if foreign:
        more = f" and {len(foreign) - 1} more" if len(foreign) > 1 else ""
        raise UsageError(
            f"{out_dir} holds {foreign[0]}{more}, no part of the page, which is not replaced",
            "move that away, or choose another `out_dir`",
        )


def is_page(folder: Path, form: PageForm = READING) -> bool:
    """Tell whether a folder is a page of that form, be it damaged."""
    if form.items in read_study(folder):
        return True
    return folder.is_dir() and bool(_listed(folder, form) - {STUDY, "index.html"})


@contextmanager
def new_folder(out_dir: Path, replace: bool = False, form: PageForm = READING) -> Iterator[Path]:
    """Yield a folder beside `out_dir` that takes its place when the block ends.

    It does so if it holds a page by then, and is removed if not. With `replace`, an older page
    there loses its files. Without it, one that another run has put there meanwhile stays if it is
    the same, and is a `UsageError` otherwise.
    """
    out_dir = out_dir.resolve()  # what a link leads to is replaced, and not the link
    with (
        naming(out_dir),
        scratch_folder(out_dir.parent) as folder,
        _opened(folder) as descriptor,
    ):
        (folder / "volumes").mkdir()
        yield folder
        _require_still(folder, descriptor)
        study = read_study(folder)
        if not study:
            return
        for left in [path for path in folder.rglob("*") if is_temporary(path.name)]:
            left.unlink()  # of a process that was killed
        write_checksums(folder, [path.relative_to(folder).as_posix() for path in _files(folder)])
        with alone_in(out_dir.parent):
            _require_still(folder, descriptor)
            require_free(out_dir, form)
            if out_dir.exists() and not _is_empty(out_dir):
                if not replace:
                    _require_same(out_dir, study)
                    return
                _remove_page(out_dir, form)
            folder.rename(out_dir)


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    """Yield a descriptor of a folder, so that no other one is taken for it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _require_still(folder: Path, descriptor: int) -> None:
    """Raise an error where a folder under way was taken away.

    The next file of a page makes it anew: that folder would hold what came later, and no more.
    """
    if not is_still_at(folder, descriptor):
        raise FileNotFoundError(errno.ENOENT, "it was removed while it was written")


def _require_same(out_dir: Path, study: dict[str, Any]) -> None:
    if read_study(out_dir) != study or damage_of(out_dir):
        raise UsageError(f"{out_dir} exists", "use `force` to replace it, or another `out_dir`")


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and all(is_temporary(path.name) for path in folder.iterdir())


def _files(folder: Path) -> list[Path]:
    """All that a folder holds but folders, sorted, and without what somebody is writing."""
    found = [path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()]
    return sorted(path for path in found if not is_temporary(path.name))


def _foreign(folder: Path, form: PageForm) -> list[str]:
    """The files below a page's folder that are no part of it."""
    own = _own(folder, form)
    names = [path.relative_to(folder).as_posix() for path in _files(folder)]
    return [name for name in names if name not in own]


def _own(folder: Path, form: PageForm) -> set[str]:
    """The files of a page, by their names in its folder, as it says itself."""
    named = _named(read_study(folder), form)
    return {*_listed(folder, form), *named, *form.assets, STUDY, CHECKSUMS}


def _listed(folder: Path, form: PageForm) -> set[str]:
    """The files of a page that its checksums list; names that no page has do not count."""
    try:
        known = read_checksums(folder)
    except ItemError:
        known = None
    listed = [] if known is None else known.listed
    return {name for name in listed if name in (*form.assets, STUDY) or form.volume.fullmatch(name)}


def _named(study: dict[str, Any], form: PageForm) -> set[str]:
    """The volumes that a page's content names."""
    text = json.dumps(study.get(form.items))
    names = re.findall(r'"file": "([^"\\]*)"', text)
    files = {f"volumes/{name}.js" for name in names}
    return {name for name in files if form.volume.fullmatch(name)}


def _remove_page(folder: Path, form: PageForm) -> None:
    """Remove the files of a page and the folders that are empty then.

    Its content goes last, so that what is left of a page, if this is interrupted, is known as one.
    """
    own = sorted(_own(folder, form), key=lambda name: (name in (CHECKSUMS, STUDY), name == STUDY))
    for name in own:
        (folder / name).unlink(missing_ok=True)
    with suppress(FileNotFoundError):
        (folder / "volumes").rmdir()
    folder.rmdir()
