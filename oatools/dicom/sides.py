"""The side that a description names, in the words of several languages.

A side is a word of its own: `COR_IW_TSE_LEFT`, `LEFT KNEE`, `kneeLeft`, `Knie rechts`, `PD FS (R)`.
It is never a part of another word: `UPRIGHT`, `BRIGHT` and `COPYRIGHT` name none. What stands
between words is anything but letters and digits, a change to capitals (`kneeLeft`), or a change
between letters and digits. How far a word is believed depends on how much else it may mean:

- `WORDS` mean a side wherever they stand;
- `SHORT` words do at either end of the description, in brackets, or beside a word for the knee
  (`RT` alone may mean real time);
- `GERMAN` abbreviations, which are syllables of English, beside a German knee or in brackets;
- single letters in brackets (`(R)`), or as the first or last word beside the knee in a language
  where they mean that (`KNEE_R`, `genou G`). In `T1_R` the letter means nothing.
"""

import functools
import re
import unicodedata
from dataclasses import dataclass

#: Words that mean a side wherever they stand.
WORDS = {
    # English, German and Dutch
    **dict.fromkeys(("left", "links", "linke", "linker", "linkes", "linken", "linkem"), "left"),
    **dict.fromkeys(("right", "rechts", "rechte", "rechter", "rechtes", "rechten"), "right"),
    # French
    **dict.fromkeys(("gauche", "gauches"), "left"),
    **dict.fromkeys(("droit", "droite", "droits", "droites"), "right"),
    # Spanish
    **dict.fromkeys(("izquierda", "izquierdo", "izq", "izda", "izdo", "izqda", "izqdo"), "left"),
    **dict.fromkeys(("derecha", "derecho", "dcha", "dcho", "drcha", "drcho"), "right"),
    # Italian
    **dict.fromkeys(("sinistra", "sinistro"), "left"),
    **dict.fromkeys(("destra", "destro"), "right"),
    # Portuguese
    **dict.fromkeys(("esquerda", "esquerdo", "esq"), "left"),
    **dict.fromkeys(("direita", "direito"), "right"),
    # Finnish
    **dict.fromkeys(("vasen", "vasemman", "vasemmassa", "vasemmasta"), "left"),
    **dict.fromkeys(("oikea", "oikean", "oikeassa", "oikeasta"), "right"),
    # Swedish, Danish and Norwegian (`hoger` without its dots is Dutch, and means higher)
    **dict.fromkeys(("vänster", "vänstra", "vanster", "vanstra", "venstre"), "left"),
    **dict.fromkeys(("höger", "högra", "højre", "høyre", "hojre", "hoyre"), "right"),
    # Polish
    **dict.fromkeys(("lewe", "lewy", "lewa", "lewego", "lewej", "lewym"), "left"),
    **dict.fromkeys(("prawe", "prawy", "prawa", "prawego", "prawej", "prawym"), "right"),
}
#: Words that mean a side at either end, in brackets, or beside the knee.
SHORT = {"lt": "left", "rt": "right", "sx": "left", "dx": "right", "gche": "left", "dte": "right"}
#: Words that mean a side beside a German or Dutch knee, or in brackets.
GERMAN = {"li": "left", "re": "right"}
#: Words that mean both sides.
BOTH = {
    *("both", "bilat", "bilateral", "bilaterale", "bilaterales", "bilaterally"),
    *("beide", "beiden", "beider", "beidseits", "beidseitig", "bds"),
    *("ambos", "ambas", "entrambe", "entrambi", "molemmat", "obu"),
}

_LR = {"l": "left", "r": "right"}
_GERMAN_KNEES = ("knie", "knies", "kniegelenk", "kniegelenks")
#: The knee, and the single letters that mean its sides in that language.
KNEES = {
    **dict.fromkeys(("knee", "knees", *_GERMAN_KNEES), _LR),
    **dict.fromkeys(("genou", "genoux"), {"g": "left", "d": "right"}),
    **dict.fromkeys(("rodilla", "rodillas"), {"i": "left", "d": "right", "der": "right"}),
    **dict.fromkeys(("joelho", "joelhos"), {"e": "left", "d": "right"}),
    **dict.fromkeys(("ginocchio", "ginocchia"), {"s": "left", "d": "right"}),
    **dict.fromkeys(("polvi", "polven"), {"v": "left", "o": "right"}),
    **dict.fromkeys(("knä", "knæ", "kne"), {"v": "left", "h": "right"}),
    **dict.fromkeys(("kolano", "kolana"), {"l": "left", "p": "right"}),
}

_SIDES = ("left", "right")
# Side and knee without anything between them: LEFTKNEE, LKNEE, Linksknie.
_BEFORE_A_KNEE = {**{word: WORDS[word] for word in ("left", "right")}, **SHORT, **_LR}
_GLUED_KNEES = ("knee", "knie", "kniegelenk")
_GLUED_GERMAN = ("links", "rechts", "linker", "rechter", "linkes", "rechtes", "linke", "rechte")
# What, right before a side's word, makes another word of it: UpRight, BRight, CopyRight, cLeft.
_OTHER_BEFORE = {"up", "b", "copy", "out", "down", "forth", "birth", "al", "f", "w", "c", "a"}

_CHUNK = re.compile(r"[^\W_]+")
_OPENING, _CLOSING = "([{<", ")]}>"


@dataclass(frozen=True)
class _Part:
    """A word of a text: itself in small letters, where it stands, and whether digits touch it."""

    word: str
    start: int
    end: int
    touches_digit: bool


@dataclass(frozen=True)
class _Named:
    """A side that a text names, and where."""

    side: str
    start: int
    end: int


def side_in(text: str) -> str | None:
    """Return `left` or `right` where a text names that side alone; None for neither, and for both.

    side_in("COR_IW_TSE_LEFT") == "left" and side_in("UPRIGHT") is None
    """
    named = {found.side for found in _named(text)}
    return named.pop() if len(named) == 1 and named <= set(_SIDES) else None


def names_both(text: str) -> bool:
    """Tell whether a text names both sides (`LEFT AND RIGHT`, `bilateral`)."""
    named = {found.side for found in _named(text)}
    return "both" in named or named == set(_SIDES)


def pieces(text: str) -> list[tuple[str, bool]]:
    """Return a text in pieces, each with whether it is the word of a side (or of both)."""
    composed = _composed(text)
    found = []
    end = 0
    for named in _named(text):
        found.append((composed[end : named.start], False))
        found.append((composed[named.start : named.end], True))
        end = named.end
    found.append((composed[end:], False))
    return [(piece, is_side) for piece, is_side in found if piece]


def without_side(text: str) -> str:
    """Return a text with a blank for the word of its side; as it is where it names none or both."""
    if side_in(text) is None:
        return text
    return " ".join(piece for piece, is_side in pieces(text) if not is_side)


@functools.lru_cache(maxsize=4096)  # fifty thousand series share a few descriptions
def _named(text: str) -> tuple[_Named, ...]:
    """Return the sides that a text names, in order."""
    text = _composed(text)
    parts = _parts(text)
    found = []
    for position, part in enumerate(parts):
        side = _of_word(text, parts, position)
        if side is not None:
            found.append(_Named(side, part.start, part.end))
            continue
        glued = _of_compound(part)
        if glued is not None:
            found.append(glued)
    return tuple(found)


def _composed(text: str) -> str:
    """Return a text with each letter and its accents as one character, as in the table."""
    return unicodedata.normalize("NFC", text)


def _of_word(text: str, parts: list[_Part], position: int) -> str | None:
    """Return the side (or `both`) that a part means where it stands."""
    part = parts[position]
    if part.word in BOTH:
        return "both"
    if part.word in WORDS:
        return None if _belongs_to_another(text, parts, position) else WORDS[part.word]
    if part.touches_digit:
        return None
    is_bracketed = _is_bracketed(text, part)
    is_at_an_end = position in (0, len(parts) - 1)
    neighbours = [
        parts[near].word for near in (position - 1, position + 1) if 0 <= near < len(parts)
    ]
    knees = [word for word in neighbours if word in KNEES]
    if part.word in SHORT and (is_bracketed or is_at_an_end or knees):
        return SHORT[part.word]
    if part.word in GERMAN and not _is_prefix(text, part):
        is_german = any(knee in _GERMAN_KNEES for knee in knees)
        return GERMAN[part.word] if is_bracketed or is_german else None
    if is_bracketed and part.word in _LR:
        return _LR[part.word]
    if is_at_an_end or is_bracketed:
        for knee in knees:
            if part.word in KNEES[knee]:
                return KNEES[knee][part.word]
    return None


def _of_compound(part: _Part) -> _Named | None:
    """Return the side in a word that is a side and a knee, such as `LKNEE`; None for others."""
    for knee in _GLUED_KNEES:
        if part.word.endswith(knee):
            before = part.word.removesuffix(knee)
            side = _BEFORE_A_KNEE.get(before)
            if knee != "knee" and before in _GLUED_GERMAN:
                side = WORDS[before]
            if side is not None:
                return _Named(side, part.start, part.start + len(before))
        if part.word.startswith(knee):
            after = part.word.removeprefix(knee)
            # A single letter there is the end of the word: knees, knien.
            side = SHORT.get(after) or WORDS.get(after)
            if side is not None:
                return _Named(side, part.end - len(after), part.end)
    return None


def _belongs_to_another(text: str, parts: list[_Part], position: int) -> bool:
    """Tell whether a side's word is the end of another one that is written apart, as `UpRight`."""
    if position == 0:
        return False
    part, before = parts[position], parts[position - 1]
    is_glued = before.end == part.start
    is_hyphened = text[before.end : part.start] == "-" and len(before.word) > 1
    return before.word in _OTHER_BEFORE and (is_glued or is_hyphened or before.word == "up")


def _is_bracketed(text: str, part: _Part) -> bool:
    before = text[: part.start].rstrip()[-1:]
    after = text[part.end :].lstrip(" .")[:1]
    return bool(before and after) and before in _OPENING and after in _CLOSING


def _is_prefix(text: str, part: _Part) -> bool:
    """Tell whether a hyphen joins a part to the next word, as in `re-scan`."""
    return re.match(r"-\w", text[part.end :]) is not None


def _parts(text: str) -> list[_Part]:
    """Return the words of a text, in order."""
    parts = []
    for chunk in _CHUNK.finditer(text):
        start = chunk.start()
        for position in range(chunk.start() + 1, chunk.end() + 1):
            if position < chunk.end() and not _is_boundary(text, position, chunk.end()):
                continue
            before, after = text[start - 1 : start] if start else "", text[position : position + 1]
            touches_digit = before.isdigit() or after.isdigit()
            parts.append(_Part(text[start:position].casefold(), start, position, touches_digit))
            start = position
    return parts


def _is_boundary(text: str, position: int, end: int) -> bool:
    """Tell whether a new word begins within a run of letters and digits: `kneeLeft`, `TSELeft`."""
    before, here = text[position - 1], text[position]
    if before.isdigit() != here.isdigit():
        return True
    if not here.isupper():
        return False
    is_capitalised = position + 1 < end and text[position + 1].islower()
    return before.islower() or (before.isupper() and is_capitalised)
