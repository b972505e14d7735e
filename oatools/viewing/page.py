"""The page on which knees are looked at: a folder that a browser opens from disk, or one file."""

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from oatools.core.errors import UsageError
from oatools.core.files import atomic, digest_json, write_new
from oatools.core.manifest import MISSING, Row
from oatools.core.people import normal_knee
from oatools.learning.clinical import CODES, ClinicalTable
from oatools.reading.page import VARIABLE_NAMES, asset, value_name
from oatools.reading.pagefolder import (
    STUDY,
    PageForm,
    damage_of,
    is_page,
    read_study,
    require_free,
    write_study,
)
from oatools.version import __version__
from oatools.viewing.knee import CONTENT, PLACE, Volumes, identity_of

#: The folder of the page.
VIEWING = PageForm(
    "page of oa-view",
    ("index.html", "viewer.css", "viewer.js"),
    re.compile(r"volumes/\d+-\d+-[sh]\.js"),
    "knees",
)
#: What stands in the place of the digest of a page that lacks knees.
PARTIAL = "0" * 64
_LABEL = "label"
# The last line of a page that is one file: by it we know our own, and whether it is whole.
_SEAL = re.compile(rb"<!-- oa-view ([0-9a-f]{64}) ([0-9a-f]{64}) -->\n")
_SEAL_BYTES = len(f"<!-- oa-view {'0' * 64} {'0' * 64} -->\n")
_PACKED = re.compile(rb'reading\.volume\("(?P<name>[^"]+)","(?P<packed>[^"]*)"\);\n')
_BLOCK = 1 << 20


@dataclass(frozen=True)
class ViewSettings:
    """The settings of a page: its title, the most pixels a side, and whether it shows labels."""

    title: str = "Knees"
    size: int = 512
    show_label: bool = False


@dataclass(frozen=True)
class ViewPlan:
    """What a page is made of: its rows, each with its `PLACE`, and the clinical values.

    `variables` are shown of each knee, from `clinical`, or from the rows where that is None.
    """

    rows: Sequence[Row]
    variables: Sequence[str]
    clinical: ClinicalTable | None
    volumes: Volumes | None
    settings: ViewSettings

    def source(self) -> str:
        """Return the digest of all that the page shows, by which it is known again."""
        rows = []
        for row in self.rows:
            named = {key: value for key, value in row.items() if not _is_file(key)}
            values = [self.value(row, name) for name in self.variables]
            rows.append([named, values, identity_of(row, self.volumes)])
        settings = [self.settings.title, self.settings.size, self.settings.show_label]
        return digest_json([__version__, settings, list(self.variables), rows])

    def has_label(self, columns: Sequence[str]) -> bool:
        """Tell whether there is a label, in a table with these columns or the clinical one."""
        return _LABEL in (columns if self.clinical is None else _columns_of(self.clinical))

    def value(self, row: Row, variable: str) -> str:
        """Return a clinical value of a row's knee as a person says it."""
        cells = row if self.clinical is None else self.clinical.cells(row)
        words = {f"{code:g}": word for word, code in CODES.get(variable, {}).items()}
        value = value_name(cells, variable)
        return words.get(value.removesuffix(".0"), value)


def plan_view(
    rows: Sequence[Row],
    columns: Sequence[str],
    settings: ViewSettings,
    clinical: ClinicalTable | None = None,
    volumes: Volumes | None = None,
) -> ViewPlan:
    """Plan a page of the rows of a table with these columns.

    Shown are the clinical variables of oa-label that are there; what would reveal the outcome is
    not, but for the label where the settings ask for it.
    """
    known = columns if clinical is None else _columns_of(clinical)
    wanted = [*VARIABLE_NAMES, _LABEL] if settings.show_label else [*VARIABLE_NAMES]
    variables = [name for name in wanted if name in known]
    placed = [{**row, PLACE: f"{n:05d}"} for n, row in enumerate(rows, start=1)]
    return ViewPlan(placed, variables, clinical, volumes, settings)


#: The cells that a table of clinical values may have for the page.
CLINICAL = (*VARIABLE_NAMES, _LABEL)


def finish_page(
    folder: Path, plan: ViewPlan, done: Sequence[Row], source: str, one: Path | None = None
) -> None:
    """Write the page of the rows that were shown, with their cells, beside their volumes.

    `source` is that of the plan. What other rows have left in the folder goes. With `one`, the page
    is written there, as one file.
    """
    shown = {row[PLACE] for row in done}
    for path in (folder / "volumes").iterdir():
        if path.name.split("-")[0] not in shown:
            path.unlink()
    for name in VIEWING.assets:
        write_new(folder / name, asset(name, "oatools.viewing"))
    source = source if len(done) == len(plan.rows) else PARTIAL
    write_study(folder, _content(plan, done, source))
    if one is not None:
        _write_one_file(folder, source, one)


def find_page(out: Path, is_one: bool) -> str | None:
    """Return what the page that is there was made of (see `ViewPlan.source`), None without one.

    `PARTIAL` for a page that lacks knees, and empty for one that was damaged since it was made.
    Raises a `UsageError` for what is no page of ours, or holds more than that.
    """
    if is_one:
        return _file_source(out) if out.exists() else None
    require_free(out, VIEWING)
    if not is_page(out, VIEWING):
        return None
    return "" if damage_of(out) else str(read_study(out).get("source", ""))


def _content(plan: ViewPlan, done: Sequence[Row], source: str) -> dict[str, Any]:
    """The content of the page: all knees of which a row was shown, in the table's order."""
    knees: dict[str, dict[str, Any]] = {}
    for row in done:
        found = json.loads(row[CONTENT])
        knee = knees.setdefault(normal_knee(row.get("knee", MISSING)), _blank(row, plan))
        for key in ("probability", "threshold"):
            if knee[key] is None:
                knee[key] = found[key]
        knee["series"] += found["series"]
        knee["said"] += [line for line in found["said"] if line not in knee["said"]]
    for knee in knees.values():
        knee["side"] = next((each["side"] for each in knee["series"] if each["side"]), MISSING)
    content = {
        "title": plan.settings.title,
        "variables": [[name, VARIABLE_NAMES.get(name, name)] for name in plan.variables],
        "label": plan.settings.show_label,
        "colours": _colours(),
        "knees": list(knees.values()),
        "missing": len(plan.rows) - len(done),
        "made": f"oatools {__version__}",
        "source": source,
    }
    return {**content, "id": digest_json(content)[:16]}


def _write_one_file(folder: Path, source: str, target: Path) -> None:
    """Write a finished folder as one HTML file; volumes are copied one by one."""
    read = {name: (folder / name).read_text() for name in (*VIEWING.assets, STUDY)}
    style, script = read["viewer.css"], f"{read['viewer.js']}\n{read[STUDY]}"
    policy = f"script-src 'sha256-{_hash(script)}'; style-src 'sha256-{_hash(style)}'"
    page = re.sub(r"script-src [^;]*; style-src [^;]*", lambda _: policy, read["index.html"])
    before, rest = page.split('<link rel="stylesheet" href="viewer.css">')
    between, after = rest.split(
        '<script src="viewer.js"></script>\n<script src="study.js"></script>'
    )
    sha256 = hashlib.sha256()
    with atomic(target) as stream:

        def put(text: bytes) -> None:
            sha256.update(text)
            stream.write(text)

        put(f"{before}<style>{style}</style>{between}".encode())
        for path in sorted((folder / "volumes").iterdir()):
            match = _PACKED.fullmatch(path.read_bytes())
            if match is not None:
                put(b'<script type="text/plain" id="volume-%b">' % match["name"])
                put(match["packed"] + b"</script>\n")
        put(f"<script>{script}</script>{after}".encode())
        stream.write(f"<!-- oa-view {source} {sha256.hexdigest()} -->\n".encode())


def is_one_file(path: Path) -> bool:
    """Tell whether a file is a page of oa-view, be it damaged behind its beginning."""
    with path.open("rb") as stream:
        return _is_ours(stream)


def damage_of_file(path: Path) -> str:
    """Say what has become of a page that is one file since it was made; empty where nothing has."""
    return "" if _file_source(path) else "is cut short, or was changed since it was made"


def _file_source(path: Path) -> str:
    """What a page that is one file was made of, see `find_page`."""
    with path.open("rb") as stream:
        size = stream.seek(0, 2)
        stream.seek(max(0, size - _SEAL_BYTES))
        match = _SEAL.fullmatch(stream.read())
        if match is None:
            if _is_ours(stream):
                return ""
            raise UsageError(
                f"{path} exists and is no {VIEWING.what}, and is not replaced",
                "choose another `out_dir`",
            )
        is_whole = _digest_to(stream, size - _SEAL_BYTES) == match[2].decode()
    return match[1].decode() if is_whole else ""


def _is_ours(stream: BinaryIO) -> bool:
    stream.seek(0)
    return b'<meta name="generator" content="oa-view">' in stream.read(2000)


def _digest_to(stream: BinaryIO, end: int) -> str:
    sha256 = hashlib.sha256()
    stream.seek(0)
    while end > 0 and (block := stream.read(min(end, _BLOCK))):
        sha256.update(block)
        end -= len(block)
    return sha256.hexdigest()


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _blank(row: Row, plan: ViewPlan) -> dict[str, Any]:
    """A knee of the page of which no scan is known yet."""
    return {
        "knee": row.get("knee", MISSING),
        "visit": row.get("visit", MISSING),
        "values": [plan.value(row, name) for name in plan.variables],
        "probability": None,
        "threshold": None,
        "series": [],
        "said": [],
    }


def _columns_of(clinical: ClinicalTable) -> Mapping[str, str]:
    return next(iter(clinical.rows.values()), {})


def _is_file(column: str) -> bool:
    """Tell whether a column names files, whose content counts and not their place."""
    return column.split(":")[0] in ("path", "heat", "volume", "page")


def _colours() -> str:
    """The colours of heat, 256 of red, green and blue, as base64."""
    import matplotlib
    import numpy as np

    table = matplotlib.colormaps["inferno"](np.arange(256))[:, :3]
    return base64.b64encode(np.rint(255 * table).astype(np.uint8).tobytes()).decode()
