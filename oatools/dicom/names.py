"""Words of a header that name a person or a place, and texts without them.

Descriptions are free text, and people type into them what they like: the patient's name, a birth
date, an id, the hospital. Whatever the header itself calls these is taken out of its texts, however
it is written there: in another case or order, without accents, apostrophes and hyphens, with `ue`
for an umlaut, run together, as an initial and a name. This is the one place that says how. What a
header does not know (a spelling in another script, a relative) is kept out by the list of words of
which names are made, see `core.sequences`.
"""

import functools
import itertools
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

#: Elements that name persons, every word of whose values is taken out.
PERSONS = (
    "PatientName",
    "OtherPatientNames",
    "PatientBirthName",
    "PatientMotherBirthName",
    "ReferringPhysicianName",
    "PhysiciansOfRecord",
    "PerformingPhysicianName",
    "NameOfPhysiciansReadingStudy",
    "OperatorsName",
    "RequestingPhysician",
)
#: Elements that name places.
PLACES = (
    "InstitutionName",
    "InstitutionAddress",
    "InstitutionalDepartmentName",
    "StationName",
    "PatientAddress",
)
#: Elements that are one number or code each.
CODES = ("PatientID", "OtherPatientIDs", "OtherPatientIDsSequence", "AccessionNumber", "StudyID")
#: Elements that are a date.
DATES = ("PatientBirthDate",)
#: All of them.
KEYWORDS = (*PERSONS, *PLACES, *CODES, *DATES)

# What descriptions say of a scan. Such a word stays once, whoever is called so (Tse is a name,
# too), or one person's scans would be of another sequence; a second one is the name. There are no
# more of them than sequences are told apart by: of any other word, the name counts.
_OF_SCANS = {
    *("cor", "sag", "ax", "tra", "coronal", "sagittal", "axial", "mpr", "knee", "2d", "3d"),
    *("t1", "t2", "t1w", "t2w", "pd", "pdw", "iw", "fs", "fatsat", "stir", "spair"),
    *("se", "tse", "fse", "gre", "spgr", "dess"),
}
_LATIN = str.maketrans(
    {"ß": "ss", "ø": "o", "æ": "ae", "œ": "oe", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i"}
)
_SPELT_OUT = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ø": "oe", "å": "aa"})
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
# Where a capital begins a new word.
_CAPITAL = re.compile(r"(?<=[a-zà-ÿ])(?=[A-ZÀ-Þ])")
_LETTERS = re.compile(r"[^\W_]+")
_LEAST_NUMBER = 4  # digits of a number by which something can be known
_LEAST_PART = 4  # letters of a name that is found within another word
_LONGEST_RUN = 6  # words that are one name written apart


@dataclass(frozen=True)
class PersonalWords:
    """What must not come out of a header: `words` and whole values, folded (see `_folded`)."""

    words: frozenset[str]

    def removed_from(self, text: str) -> str:
        """Return a text without them; the text itself where none is in it."""
        return _without(text, self.words) if self.words else text


def personal_words(elements: Mapping[str, Any]) -> PersonalWords:
    """Return the personal words of a header's elements (see `headers.Header`)."""
    return _personal(tuple(tuple(_texts(elements.get(keyword))) for keyword in KEYWORDS))


@functools.lru_cache(maxsize=256)  # all series of a patient have the same
def _personal(texts: tuple[tuple[str, ...], ...]) -> PersonalWords:
    persons, rest = texts[: len(PERSONS)], texts[len(PERSONS) :]
    places, rest = rest[: len(PLACES)], rest[len(PLACES) :]
    codes, dates = rest[: len(CODES)], rest[len(CODES) :]
    forms: list[str] = []
    for kind, form in (
        (persons, _of_name),
        (places, _of_place),
        (codes, _of_code),
        (dates, _of_date),
    ):
        for values in kind:
            for value in values:
                forms += form(value)
    return PersonalWords(frozenset(word for word in forms if len(word) > 1))


def _texts(value: Any) -> list[str]:
    """Return the texts of an element, which may have several values."""
    if value is None:
        return []
    if isinstance(value, (list, tuple)) or type(value).__name__ == "MultiValue":
        return [str(each) for each in value]
    if type(value).__name__ == "Sequence":
        return [str(item.get("PatientID", "")) for item in value]
    return str(value).split("\\")


def _of_name(name: str) -> Iterator[str]:
    """Yield the forms of a person's name: `A^B=C^D` has components, and groups of them."""
    for group in name.split("="):
        for fold in (_folded, _spelt_out):
            components = [_whole_words(part) for part in fold(group).split("^")]
            words = [word for component in components for word in component]
            yield from words
            yield from _LETTERS.findall(fold(group))  # the parts of O'Brien and of Smith-Jones
            yield from map("".join, components)
            yield "".join(words)
            for first, second in itertools.permutations(words, 2):
                yield first + second
                if len(first) > 1:
                    yield second[0] + first
                    yield first + second[0]


def _whole_words(text: str) -> list[str]:
    """Return words without the signs within them: `o'brien` is `obrien`."""
    words = ("".join(_LETTERS.findall(word)) for word in re.split(r"[\s,.]+", text))
    return [word for word in words if word]


def _of_place(text: str) -> Iterator[str]:
    """Yield the words of a place; small numbers in it (of a house) are no one's name."""
    for fold in (_folded, _spelt_out):
        words = _LETTERS.findall(fold(text))
        yield from (word for word in words if not word.isdecimal() or len(word) > _LEAST_NUMBER)
        yield "".join(words)


def _of_code(text: str) -> Iterator[str]:
    """Yield a code, as it is and without its signs, and its longer parts that are numbers."""
    parts = _LETTERS.findall(_folded(text))
    yield "".join(parts)
    yield from (part for part in parts if part.isdecimal() and len(part) >= _LEAST_NUMBER)


def _of_date(text: str) -> Iterator[str]:
    """Yield the ways to write a date without signs between its parts; of DICOM's, `19410203`."""
    digits = re.sub(r"\D", "", text)
    if len(digits) != 8:
        return
    year, month, day = digits[:4], digits[4:6], digits[6:]
    yield year
    for years in (year, year[2:]):
        for parts in ((years, month, day), (day, month, years), (month, day, years)):
            yield "".join(parts)
            yield "".join(str(int(part)) if part != years else part for part in parts)
        if 1 <= int(month) <= len(_MONTHS):
            yield day + _MONTHS[int(month) - 1] + years
            yield str(int(day)) + _MONTHS[int(month) - 1] + years


def _folded(text: str) -> str:
    """Return a text in small letters without accents."""
    plain = unicodedata.normalize("NFKD", text.casefold().translate(_LATIN))
    return "".join(letter for letter in plain if not unicodedata.combining(letter))


def _spelt_out(text: str) -> str:
    """Return a text in small letters with `ae` for `ä`, as names are written without umlauts."""
    composed = unicodedata.normalize("NFC", text.casefold())
    return _folded(composed.translate(_SPELT_OUT))


@dataclass(frozen=True)
class _Word:
    """A run of letters or of digits in a text: where it begins and ends, and its folded forms."""

    start: int
    end: int
    forms: tuple[str, str]


def _without(text: str, personal: frozenset[str]) -> str:
    text = unicodedata.normalize("NFC", text)
    words = list(_words(text))
    kept_once: set[str] = set()
    gone: list[tuple[int, int]] = []
    position = 0
    while position < len(words):
        length, said = _personal_run(words, position, personal)
        if said in _OF_SCANS and said not in kept_once:
            kept_once.add(said)
        elif length:
            gone.append((words[position].start, words[position + length - 1].end))
        else:
            gone += _personal_part(words[position], personal)
        position += max(1, length)
    for start, end in reversed(gone):
        text = text[:start] + text[end:]
    return text


def _words(text: str) -> Iterator[_Word]:
    """Yield the words of a text; `KneeJane2` is three."""
    for found in re.finditer(r"[^\W\d_]+|\d+", text):
        ends = [found.start() + cut.start() for cut in _CAPITAL.finditer(found[0])]
        start = found.start()
        for end in (*ends, found.end()):
            yield _Word(start, end, (_folded(text[start:end]), _spelt_out(text[start:end])))
            start = end


def _personal_run(words: list[_Word], position: int, personal: frozenset[str]) -> tuple[int, str]:
    """Return how many words from a position on are personal as one, the most, and what they say."""
    longest, said = 0, ""
    folded = spelt = ""
    for length, word in enumerate(words[position : position + _LONGEST_RUN], start=1):
        folded, spelt = folded + word.forms[0], spelt + word.forms[1]
        if folded in personal or spelt in personal:
            longest, said = length, folded
    return longest, said


def _personal_part(word: _Word, personal: frozenset[str]) -> list[tuple[int, int]]:
    """Return where within a word, such as `MEYERKNEE`, the longest personal one stands."""
    folded = word.forms[0]
    if folded in _OF_SCANS or len(folded) != word.end - word.start:
        return []
    for part in sorted(personal - _OF_SCANS, key=len, reverse=True):
        at = folded.find(part)
        if len(part) >= _LEAST_PART and at >= 0:
            return [(word.start + at, word.start + at + len(part))]
    return []
