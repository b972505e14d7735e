"""The file by which a synthetic download is known for one."""

from pathlib import Path

from oatools.core.records import RecordError, parse_json

#: The name of the file, in the folder of the download.
STAMP = "phantom.json"

_MOST_BYTES = 1 << 16


def is_of_phantom(tables: Path) -> bool:
    """Tell whether a folder of tables, or a file, is of a download that `oa-phantom` wrote.

    The stamp lies beside the tables, or beside their folder.
    """
    return any(_is_stamp(folder / STAMP) for folder in (tables, tables.parent))


def _is_stamp(path: Path) -> bool:
    if not path.is_file() or path.stat().st_size > _MOST_BYTES:
        return False
    try:
        content = parse_json(path.read_bytes())
    except RecordError:
        return False
    return isinstance(content, dict) and content.get("synthetic") is True
