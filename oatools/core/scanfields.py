r"""The fields of a sidecar that say how a scan was made, and no more than that.

A sidecar that came with a volume may hold anything: names, birth dates, institutions, comments, in
fields of any name, and typed into fields that are for something else. So a field passes by its name
and by its value: a number, or a term that is known to mean a setting. What is not known stays
behind; a setting that is lost does less harm than a name that is kept.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

_Check = Callable[[Any], bool]

_LARGEST = 1e5


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_MAKERS = re.compile(
    r"(siemens|ge|philips|toshiba|canon|hitachi|fujifilm|esaote|uih|united imaging|bruker|varian|"
    r"agilent|hyperfine|samsung|oni|mediso|marconi|picker|fonar|neusoft|alltech)"
    r"( ?(medical|healthcare|health|healthineers|systems|imaging|corporation|company|co|gmbh|spa|"
    r"mec|nmr|biospin|hamburg|inc|ltd|and|&|of)[.,]*)*",
    re.IGNORECASE,
)
# Words in the names of scanners; what stands beside one of them is short: MR750, 3T, HDxt.
_MODELS = _words(
    "achieva aera airis altaire altea amira aperto architect artist avanto avantofit biograph "
    "centurian cima concerto discovery echelon echospeed elition espree essenza evolution excelart "
    "excite expert explorer galan genesis gyroscan harmony hero horizon impact ingenia intera jazz "
    "lumina magnetom mr multiva nova oasis optima orian orthone oval panorama pioneer prisma "
    "prismafit prodiva profile quasar sempra signa signature skyra skyrafit sola sonata spectra "
    "symphony symphonytim swoop terra titan trillium trio triotim twinspeed umr vantage verio vida "
    "vision visart viva voyager premier ambition"
)
_MODEL_CODE = re.compile(
    r"[a-z]{0,3}\d{1,3}(\.\d)?[a-z]{0,3}|[a-z]|hdxt?|xr|dstream|tim|dot|medical|systems",
    re.IGNORECASE,
)

_SCANNING = _words("SE IR GR EP RM NONE")
_VARIANTS = _words("SK MTC SS TRSS SP MP OSP NONE OTHER")
_OPTIONS = _words("PER RG CG PPG FC PFF PFP SP FS WE SFS NPW PFC EDR SAT SAT1 NONE OTHER")
_VENDORS_OPTION = re.compile(r"[A-Z0-9]{1,10}_GEMS")


def _number(value: Any) -> bool:
    """Tell whether a value is a number of the size of a setting: dates and ids are larger."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and -_LARGEST < value < _LARGEST


def _term(pattern: str) -> _Check:
    """Return a check for texts that a pattern describes from end to end."""
    compiled = re.compile(pattern)
    return lambda value: isinstance(value, str) and compiled.fullmatch(value) is not None


def _terms(known: frozenset[str], more: re.Pattern[str] | None = None) -> _Check:
    r"""Return a check for known terms, one, a list, or several with `\` or `_` between them."""

    def check(value: Any) -> bool:
        parts = value if isinstance(value, list) else [value]
        if not parts or not all(isinstance(part, str) for part in parts):
            return False
        return all(map(is_known, "\\".join(parts).split("\\")))

    def is_known(term: str) -> bool:
        if term in known or (more is not None and more.fullmatch(term)):
            return True
        return bool(term) and all(part in known for part in term.split("_"))

    return check


def _maker(value: Any) -> bool:
    return isinstance(value, str) and _MAKERS.fullmatch(value.strip()) is not None


def _model(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    words = [word for word in re.split(r"[\s_/-]+", value.strip()) if word]
    named = [word for word in words if word.lower() in _MODELS]
    others = [word for word in words if word.lower() not in _MODELS]
    return bool(named) and all(_MODEL_CODE.fullmatch(word) for word in others)


#: The settings of a scan that a sidecar may hold, each with the check of its value.
SCAN_FIELDS: Mapping[str, _Check] = {
    "Modality": _term("MR|CT|PT|OT"),
    "MagneticFieldStrength": _number,
    "ImagingFrequency": _number,
    "Manufacturer": _maker,
    "ManufacturersModelName": _model,
    "PatientPosition": _term("(HF|FF|LF|RF|AF|PF)(P|S|DR|DL)"),
    "MRAcquisitionType": _term("[123]D"),
    "ScanningSequence": _terms(_SCANNING),
    "SequenceVariant": _terms(_VARIANTS),
    "ScanOptions": _terms(_OPTIONS, _VENDORS_OPTION),
    "SliceThickness": _number,
    "SpacingBetweenSlices": _number,
    "EchoNumber": _number,
    "EchoTime": _number,
    "RepetitionTime": _number,
    "InversionTime": _number,
    "FlipAngle": _number,
    "PixelBandwidth": _number,
    "EchoTrainLength": _number,
    "PercentPhaseFOV": _number,
    "AcquisitionMatrixPE": _number,
    "ReconMatrixPE": _number,
    "InPlanePhaseEncodingDirectionDICOM": _term("ROW|COL"),
    "ConversionSoftware": _term("dcm2niix|dicm2nii|dicom2nifti|heudiconv|bidscoin|dcm2bids"),
    "ConversionSoftwareVersion": _term(r"v?\d+(\.\d+)*"),
}

# Words of sequences' names: planes, weightings, and what scanners call their pulses.
_SEQUENCE_WORDS = _words(
    "cor sag ax tra hr lr iw pd t1 t2 t2s t2map stir tse fse se gre ge dess mese me mapi mapping "
    "fs fat sat supp nofs we spgr flash fspgr vibe space cube vista mpr mprage ffe trufi fiesta "
    "ciss medic merge ideal dixon loc localizer thigh dual echo w flair 2d 3d hi res spair ir "
    "ir1 iso"
)


def scan_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that state a setting of the scan, in the order in which they came."""
    return {name: value for name, value in fields.items() if is_scan_field(name, value)}


def is_scan_field(name: str, value: Any) -> bool:
    """Tell whether a field states a setting of the scan, by its name and its value."""
    check = SCAN_FIELDS.get(name)
    return check is not None and check(value)


def is_sequence_name(value: Any) -> bool:
    """Tell whether a text names a sequence in known words alone, such as `cor-iw-tse`."""
    return isinstance(value, str) and all(
        word in _SEQUENCE_WORDS for word in value.lower().split("-")
    )
