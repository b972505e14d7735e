"""Damage to bytes: what disks, networks, editors and strangers do to files, drawn from a seed."""

import gzip
import io
import json
import random
import re
import struct
import tarfile
import zipfile
from collections.abc import Callable
from typing import Any

Mutation = Callable[[bytes, random.Random], bytes]
_SIZES = (1, 1, 2, 4, 8, 16, 64, 512, 4096)
#: Numbers at which code changes its mind.
NUMBERS = (
    "", "0", "-1", "1", "2", "255", "256", "32767", "32768", "65535", "2147483647", "2147483648", "-2147483649",
    "4294967296", "9223372036854775807", "9223372036854775808", "1e400", "-1e400", "1e-400", "nan", "inf", "-inf", "NaN",
    "0x10", "1_000", "\uff11", "\u0663", "1,5", "1.5.2", "+1", " 1 ", "1e5", "00000", "9" * 400, "n/a", "None", "true",
)  # fmt: skip
TEXTS = (
    "", " ", "\t", "\n", "\r", "\0", '"', "'", "\\", "/", "../../x", "\ufeff", "\u202e", "\U0001f9b5", "\u0130", "a" * 100_000,
    "=1+1", "<b>", "$\\frac$", "%s%n", "{}", "[]", "n/a", "\x1b[31m", "\x85", "\u2028", "é" * 300,
)  # fmt: skip


def damage_bytes(data: bytes, chance: random.Random) -> bytes:
    """One to four of: bits flipped, blocks overwritten, cut, doubled, moved in, numbers set to their bounds."""
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        data = chance.choice(_BYTES)(data, chance)
    return data


def damage_text(data: bytes, chance: random.Random) -> bytes:
    """Cells, lines, separators, quotes, encodings; sometimes the bytes alone."""
    for _ in range(chance.choice((1, 1, 2, 4))):
        data = chance.choice(_TEXT)(data, chance)
    return data


def damage_json(data: bytes, chance: random.Random) -> bytes:
    """Values of other types, ranges and depths in the place of values; sometimes the text alone."""
    try:
        value = json.loads(data)
    except ValueError:
        return damage_text(data, chance)
    if chance.random() < 0.3:
        return damage_text(data, chance)
    text = damage_values(value, chance)
    return text.replace(_DEEP_MARK, "[" * 100_000 + "]" * 100_000).encode()


def damage_values(value: Any, chance: random.Random) -> str:
    """Replace, remove or add one to four values; the text is JSON."""
    for _ in range(chance.choice((1, 1, 2, 4))):
        value = _change_value(value, chance)
    return json.dumps(value)


def inside_gzip(mutation: Mutation) -> Mutation:
    """Damage what a gzip stream holds, which its checksum does not tell."""

    def damage(data: bytes, chance: random.Random) -> bytes:
        return gzip.compress(mutation(gzip.decompress(data), chance), 1, mtime=0)

    return damage


def either(*mutations: Mutation) -> Mutation:
    """One of several kinds of damage."""

    def damage(data: bytes, chance: random.Random) -> bytes:
        return chance.choice(mutations)(data, chance)

    return damage


def damage_safetensors(data: bytes, chance: random.Random) -> bytes:
    """Damage the JSON in the header of a safetensors file, and state its length truly or not."""
    (length,) = struct.unpack("<Q", data[:8])
    header, rest = data[8 : 8 + length], data[8 + length :]
    value = json.loads(header)
    notes = value.get("__metadata__") or {}
    if notes and chance.random() < 0.7:  # the texts in it are JSON themselves
        key = chance.choice(sorted(notes))
        notes[key] = damage_json(notes[key].encode(), chance).decode(errors="replace")
        header = json.dumps(value).encode()
    else:
        header = damage_json(header, chance)
    stated = (
        len(header) if chance.random() < 0.9 else chance.choice((0, 2**31, 2**63, len(header) + 1))
    )
    return struct.pack("<Q", stated) + header + rest


def damage_members(data: bytes, chance: random.Random) -> bytes:
    """Damage one member of a tar (packed or not) or zip archive, or its name, and pack it as before."""
    buffer = io.BytesIO()
    if data[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w") as new:
            names = old.namelist()
            chosen = chance.choice(names)
            for name in names:
                content = old.read(name)
                if name == chosen:
                    name, content = _odd_member(name, content, chance)
                new.writestr(name or "x", content)  # zipfile takes no empty name
        return buffer.getvalue()
    packed = data[:2] == b"\x1f\x8b"
    with (
        tarfile.open(fileobj=io.BytesIO(data)) as old,
        tarfile.open(fileobj=buffer, mode="w:gz" if packed else "w") as new,
    ):
        members = old.getmembers()
        chosen = chance.choice(members)
        for member in members:
            stream = old.extractfile(member)
            content = stream.read() if stream else b""
            if member is chosen:
                member.name, content = _odd_member(member.name, content, chance)
                member.type = chance.choice(
                    (member.type,) * 4
                    + (
                        tarfile.SYMTYPE,
                        tarfile.LNKTYPE,
                        tarfile.FIFOTYPE,
                        tarfile.CHRTYPE,
                        tarfile.DIRTYPE,
                    )
                )
                member.linkname = chance.choice(("", "/etc/passwd", "../../x", member.name))
                member.size = len(content) if member.isreg() else 0
            if chance.random() < 0.1:
                field = chance.choice(
                    (
                        "size",
                        "path",
                        "mtime",
                        "GNU.sparse.map",
                        "GNU.sparse.size",
                        "GNU.sparse.major",
                    )
                )
                member.pax_headers = {field: chance.choice(NUMBERS)}
            new.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def _odd_member(name: str, content: bytes, chance: random.Random) -> tuple[str, bytes]:
    if chance.random() < 0.4:
        return chance.choice(
            (
                "/etc/x",
                "../../x",
                "a" * 300,
                name + "/",
                "",
                ".",
                name.upper(),
                "\U0001f9b5",
                "-x",
                "a\nb",
            )
        ), content
    return name, damage_bytes(content, chance)


# --- bytes


def _flip(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 8, 64)) if changed else 0):
        changed[_place(data, chance)] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _overwrite(data: bytes, chance: random.Random) -> bytes:
    start, size = _place(data, chance), chance.choice(_SIZES)
    block = chance.choice((bytes(size), b"\xff" * size, chance.randbytes(size)))
    return data[:start] + block[: len(data) - start] + data[start + size :]


def _cut(data: bytes, chance: random.Random) -> bytes:
    return data[: _place(data, chance)]


def _take_out(data: bytes, chance: random.Random) -> bytes:
    start = _place(data, chance)
    return data[:start] + data[start + chance.choice(_SIZES) :]


def _insert(data: bytes, chance: random.Random) -> bytes:
    start, size = _place(data, chance), chance.choice(_SIZES)
    return data[:start] + chance.choice((bytes(size), chance.randbytes(size))) + data[start:]


def _double(data: bytes, chance: random.Random) -> bytes:
    start, size = _place(data, chance), chance.choice(_SIZES) * 8
    return data[: start + size] + data[start:]


def _splice(data: bytes, chance: random.Random) -> bytes:
    """A part of the file stands at another place, as two files mixed up have it."""
    start, source, size = _place(data, chance), _place(data, chance), chance.choice(_SIZES) * 8
    block = data[source : source + size]
    return data[:start] + block + data[start + len(block) :]


def _bound(data: bytes, chance: random.Random) -> bytes:
    """A number of 2, 4 or 8 bytes becomes one at which code changes its mind."""
    size = chance.choice((2, 4, 8))
    start = _place(data, chance)
    value = chance.choice((0, 1, -1, 2 ** (8 * size - 1) - 1, 2 ** (8 * size - 1), 2**15, 7))
    order = chance.choice(("little", "big"))
    return data[:start] + (value % 2 ** (8 * size)).to_bytes(size, order) + data[start + size :]


def _place(data: bytes, chance: random.Random) -> int:
    """A place in the file; half of them near its start, where headers are."""
    end = max(1, len(data))
    return chance.randrange(min(end, 512)) if chance.random() < 0.4 else chance.randrange(end)


_BYTES = (
    _flip,
    _flip,
    _overwrite,
    _cut,
    _take_out,
    _insert,
    _double,
    _splice,
    _bound,
    _bound,
)


# --- texts


def _change_number(data: bytes, chance: random.Random) -> bytes:
    spots = list(re.finditer(rb"-?\d+(?:\.\d+)?", data))
    if not spots:
        return data
    spot = chance.choice(spots)
    return data[: spot.start()] + chance.choice(NUMBERS).encode() + data[spot.end() :]


def _change_cell(data: bytes, chance: random.Random) -> bytes:
    spots = list(re.finditer(rb"[^\t\r\n,|]+", data))
    if not spots:
        return data
    spot = chance.choice(spots)
    return data[: spot.start()] + chance.choice(TEXTS).encode() + data[spot.end() :]


def _change_separator(data: bytes, chance: random.Random) -> bytes:
    old = chance.choice((b"\t", b",", b"|", b"\n"))
    new = chance.choice((b",", b";", b"\t", b" ", b"", b"\r\n", b"\r", b'"'))
    return data.replace(old, new, chance.choice((-1, 1, 5)))


def _change_lines(data: bytes, chance: random.Random) -> bytes:
    lines = data.split(b"\n")
    index = chance.randrange(len(lines))
    how = chance.randrange(4)
    if how == 0:
        del lines[index]
    elif how == 1:
        lines.insert(chance.randrange(len(lines)), lines[index])
    elif how == 2:
        chance.shuffle(lines)
    else:
        lines[index] = lines[index][: len(lines[index]) // 2]
    return b"\n".join(lines)


def _change_encoding(data: bytes, chance: random.Random) -> bytes:
    text = data.decode(errors="replace")
    return chance.choice(
        (
            text.encode("utf-16"),
            text.encode("utf-8-sig"),
            text.encode("latin-1", "replace").replace(b"e", b"\xe9"),
            data.replace(b"\n", b"\0\n", 1),
            data + b"\x1a",
            gzip.compress(data, mtime=0),
            b"",
        )
    )


_TEXT = (
    _change_number,
    _change_number,
    _change_cell,
    _change_cell,
    _change_separator,
    _change_lines,
    _change_encoding,
    damage_bytes,
)


# --- JSON

_DEEP_MARK = '"\\u0001deep"'
_VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 1.5, 2**31, 2**63, 10**400, float("nan"), float("inf"), -1e300, "", "x", "1", "\0", "\ud800", [], {}, [[]], [0] * 1000,
    {"": ""}, "\x01deep", "a" * 100_000, ["x"], {"x": None},
)  # fmt: skip


def _change_value(value: Any, chance: random.Random) -> Any:
    """Replace, remove or add one value, wherever it is in the tree."""
    if isinstance(value, dict) and value and chance.random() < 0.9:
        key = chance.choice(sorted(value))
        changed = dict(value)
        if chance.random() < 0.1:
            del changed[key]
        elif chance.random() < 0.1:
            changed[chance.choice(TEXTS)] = changed[key]
        else:
            changed[key] = _change_value(value[key], chance)
        return changed
    if isinstance(value, list) and value and chance.random() < 0.7:
        index = chance.randrange(len(value))
        return [*value[:index], _change_value(value[index], chance), *value[index + 1 :]]
    return chance.choice(_VALUES)
