"""Folders whose files belong together: those of a cross-validation, and of a reading page."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from oatools.core import checksums
from oatools.core.errors import ItemError, UsageError
from oatools.core.manifest import BadRow, read_rows
from oatools.reading.pagefolder import READING, STUDY, PageForm, read_study
from oatools.viewing.page import VIEWING

#: The forms of pages, and what every page has beside its volumes.
PAGES = (READING, VIEWING)
PAGE_FILES = (*READING.assets, *VIEWING.assets, STUDY, checksums.NAME)
#: What oa-cv writes into its folder, beside models and figures.
CROSSVAL_FILES = (
    "folds.tsv",
    "metrics.tsv",
    "model-card.md",
    "predictions.tsv",
    "report.html",
    checksums.NAME,
)
#: The name of the model of a fold, and of the folder of a repeat.
FOLD_MODEL = re.compile(r"fold-(?P<number>\d+)\.safetensors")
REPEAT = re.compile(r"repeat-\d+")


@dataclass
class Folders:
    """What folders are, each looked at once."""

    _crossval: dict[Path, bool] = field(default_factory=dict)
    _page: dict[Path, PageForm | None] = field(default_factory=dict)
    _listed: dict[Path, frozenset[str]] = field(default_factory=dict)

    def is_crossval(self, folder: Path) -> bool:
        """Tell whether oa-cv writes into a folder, by files that only it writes."""
        if folder not in self._crossval:
            has_folds = (folder / "folds.tsv").is_file()
            has_more = has_folds and (
                (folder / "predictions.tsv").is_file() or any(folder.glob("fold-*.safetensors"))
            )
            self._crossval[folder] = has_more or "folds.tsv" in self.listed(folder)
        return self._crossval[folder]

    def page(self, folder: Path) -> PageForm | None:
        """Return the form of the page that a folder is; that a file is lost makes it no other."""
        if folder not in self._page:
            self._page[folder] = next((f for f in PAGES if self._is_page(folder, f)), None)
        return self._page[folder]

    def _is_page(self, folder: Path, form: PageForm) -> bool:
        listed = self.listed(folder)
        if STUDY in listed:
            return set(form.assets) <= listed
        there = [(folder / name).is_file() for name in (*form.assets, STUDY)]
        return sum(there) >= len(there) - 1

    def listed(self, folder: Path) -> frozenset[str]:
        """Return the files whose digests a folder lists, by their relative names."""
        if folder not in self._listed:
            found = read_listed(folder)
            self._listed[folder] = frozenset(found.listed if found else ())
        return self._listed[folder]


def expected_of_crossval(folder: Path) -> set[str]:
    """Return the files that a folder of oa-cv must have, there or not, by their relative names.

    By the digests that are listed, and the table of folds.
    """
    expected = {f"fold-{number}.safetensors" for number in read_folds(folder).values() if number}
    if REPEAT.fullmatch(folder.name):
        return expected | {"folds.tsv", "predictions.tsv"}
    listed = read_listed(folder)
    if listed is None and not (folder / "predictions.tsv").exists():
        return {checksums.NAME}  # the run did not end, which is said once
    return expected | _inside(listed) | set(CROSSVAL_FILES)


def expected_of_page(folder: Path, form: PageForm) -> set[str]:
    """Return the files that a page must have, there or not, by their relative names."""
    volumes = {f"volumes/{name}.js" for name in volumes_of(read_study(folder))}
    always = {*form.assets, STUDY, checksums.NAME}
    return volumes | _inside(read_listed(folder)) | always


def read_listed(folder: Path) -> checksums.Checksums | None:
    """Return the digests of a folder's files; None where there are none that can be read."""
    try:
        return checksums.read_checksums(folder)
    except (ItemError, OSError):
        return None


def damage_of_listed(folder: Path, name: str) -> str:
    """Say what has become of a file by the digests of its folder; empty where they do not say."""
    listed = read_listed(folder)
    return listed.damage_of(name) if listed else ""


def read_folds(folder: Path) -> dict[str, int]:
    """Return the fold of each knee in a folder of oa-cv; empty where the table cannot be read."""
    try:
        table = read_rows([str(folder / "folds.tsv")]).require("knee", "fold")
        return {row["knee"]: int(row["fold"]) for row in table.rows if not isinstance(row, BadRow)}
    except (UsageError, ItemError, OSError, ValueError):
        return {}


def volumes_of(study: dict[str, Any]) -> dict[str, tuple[str, int]]:
    """Return the checksum and the number of the sequence of each volume that a page names."""
    found: dict[str, tuple[str, int]] = {}
    pairs = study.get("pairs")
    for pair in pairs if isinstance(pairs, list) else ():
        files = pair.get("files") if isinstance(pair, dict) else None
        for listed in files.values() if isinstance(files, dict) else ():
            for number, each in enumerate(listed if isinstance(listed, list) else ()):
                name = each.get("file") if isinstance(each, dict) else None
                if isinstance(name, str) and _is_inside(name):
                    found[name] = (str(each.get("check")), number)
    return found


def _inside(listed: checksums.Checksums | None) -> set[str]:
    """Return the listed names that stay in their folder."""
    return {name for name in (listed.listed if listed else ()) if _is_inside(name)}


def _is_inside(name: str) -> bool:
    """Tell whether a relative name stays in its folder."""
    return not name.startswith("/") and ".." not in name.split("/") and "\0" not in name
