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


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_MAKERS = re.compile(
    r"(siemens|ge|philips|toshiba|canon|hitachi|fujifilm|esaote|uih|united imaging|bruker|varian|"
    r"agilent|hyperfine|samsung|oni|mediso|marconi|picker|fonar|neusoft|alltech)"
    r"( ?(medical|healthcare|health|healthineers|systems|imaging|corporation|company|co|gmbh|spa|"
    r"mec|nmr|biospin|hamburg|inc|ltd|and|&|of)[.,]*)*",
    re.IGNORECASE,
)
# Names of scanners, as their headers state them, in small letters without blanks and signs. What is
# not among them stays behind.
_SIEMENS = _words(
    "aera aeramobile allegra altea avanto avantofit avantodot biograph biographmmr cimax "
    "cimafitx concerto connectom connectoma essenza espree espreetim freemax freestar harmony "
    "harmonyexpert impact impactexpert lumina open openviva prisma prismafit seara sempra "
    "skyra skyrafit skyrafitbiomatrix sola solafit sonata sonatavision spectra symphony "
    "symphonytim symphonyvision terra terrax trio triotim verio veriodot veriotim viatomobile "
    "vision visionplus investigationaldevice7t"
)
_GE = _words(
    "signa signaarchitect signaartist signachampion signacreator signaexcite signaexplorer "
    "signagenesis genesissigna signahd signahde signahdi signahdx signahdxt signahero "
    "signainfinity signamr355 signamr360 signamr380 signamrvictor signapetmr signapioneer "
    "signapremier signaprofile signaspirit signauhp signavictor signavictoraw signavoyager "
    "signaovation signaopenspeed signacontour discoverymr450 discoverymr750 discoverymr750w "
    "discoverymr750wgem discoverymr950 brivomr355 brivomr360 brivomr235 optimamr360 optimamr450 "
    "optimamr450w optimamr450wgem optimamr430s optimaadvancemr360 optimaedition"
)
_PHILIPS = _words(
    "achieva achievadstream achievatx achievaxr ambition ambitions ambitionx elition elitions "
    "elitionx evolution gyroscanintera gyroscannt gyroscant5nt gyroscanachieva ingenia ingeniacx "
    "ingeniaelition ingeniaelitions ingeniaelitionx ingeniaambition ingeniaambitions "
    "ingeniaambitionx ingeniaevolution ingeniaprodiva ingenuity intera interaachieva mr5300 mr7700 "
    "multiva panorama panoramahfo prodiva prodivacs prodivacx"
)
_OTHERS = _words(
    "mrt200pp3 mrt200sp3 mrt200sp5 mrt200sp6 mrt50gp titan titan3t galan galan3t orian elan "
    "elanedition fortian vantage vantageelan vantagefortian vantagegalan vantagegalan3t "
    "vantageorian vantagetitan vantagetitan3t vantageatlas vantagexgv excelart excelartvantage "
    "aera airis airisii airiselite airisvento altaire aperto apertolucent echelon echelonoval "
    "echelonsmart echelonsmartplus echelonsynergy oasis oasisvelocity trillium trilliumoval "
    "oscan gscan gscanbrio sscan cscan escan artoscan magnifico "
    "umr560 umr570 umr580 umr588 umr660 umr670 umr680 umr770 umr780 umr790 umr870 umr880 umr890 "
    "umrjupiter umromega umrnx umrmax umpmr790 orthone mskextreme "
    "oniortho swoop biospec pharmascan clinscan upright uprightmulti"
)
# Named so with their maker's prefix alone: by themselves these are names of people.
_PREFIXED = _words("magnetomamira magnetommica magnetomvida magnetomvidafit")
_MODELS = _SIEMENS | _GE | _PHILIPS | _OTHERS | _PREFIXED
_PREFIXES = ("magnetom", "signa", "vantage")
_TESLA = re.compile(r"[\s_-]+(0[.]\d{1,2}|1([.][025])?|3([.]0)?|7([.]0)?) ?t$")
_SIGNS = re.compile(r"[\s_/().-]+")

_SCANNING = _words("SE IR GR EP RM NONE")
_VARIANTS = _words("SK MTC SS TRSS SP MP OSP NONE OTHER")
# DICOM's defined terms, and those that Siemens, GE (the second line) and others write.
_OPTIONS = _words(
    "PER RG CG PPG FC PFF PFP SP FS IR WE SFS NPW NP PFC EDR MT NONE OTHER SAT SAT1 SAT2 SAT3 SAT4"
)
_OPTIONS |= {
    f"{term}_GEMS"
    for term in _words(
        "ACC ARC ART ARTM ASSET BSP CINE CL CS DE DL DRIVEN EDR EPI FAST FC FC_FREQ_AX FC_SLICE_AX "
        "FILTERED FLEX FR FSA FSI FSL FSP FSR FSS FT HYPERBAND HYPERSENSE IDEAL IFLOW IR "
        "LAVA MART MP MT MULTIBAND MULTIPHASE NPW PF PROP RTIA SAT SEQ SPECIR SQP SS T1FLAIR "
        "T2FLAIR T2PREP TAILOR TRF TRICKS UNIPHASE VASCTOF VB ZIP512 ZIP2 ZIP4"
    )
}


def _number(most: float, least: float = 0.0) -> _Check:
    """Return a check for numbers of the size of a setting: dates and ids are larger."""

    def check(value: Any) -> bool:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return is_number and least <= value <= most

    return check


def _term(pattern: str) -> _Check:
    """Return a check for texts that a pattern describes from end to end."""
    compiled = re.compile(pattern)
    return lambda value: isinstance(value, str) and compiled.fullmatch(value) is not None


def _terms(known: frozenset[str]) -> _Check:
    r"""Return a check for known terms, one, a list, or several with `\` or `_` between them."""
    term = "|".join(map(re.escape, sorted(known)))
    several = re.compile(rf"({term})([\\_]({term}))*")

    def check(value: Any) -> bool:
        parts = value if isinstance(value, list) else [value]
        are_texts = bool(parts) and all(isinstance(part, str) for part in parts)
        return are_texts and all(several.fullmatch(part) for part in parts)

    return check


def _maker(value: Any) -> bool:
    return isinstance(value, str) and _MAKERS.fullmatch(value.strip()) is not None


def _model(value: Any) -> bool:
    """Tell whether a value is the name of a scanner, also with the strength of its field."""
    if not isinstance(value, str) or not value.isascii():
        return False
    name = _SIGNS.sub("", _TESLA.sub("", value.strip().lower()))
    bare = (name.removeprefix(prefix) for prefix in _PREFIXES)
    return not _MODELS.isdisjoint([name, *bare])


#: The settings of a scan that a sidecar may hold, each with the check of its value.
SCAN_FIELDS: Mapping[str, _Check] = {
    "Modality": _term("MR|CT|PT|OT"),
    "MagneticFieldStrength": _number(25),
    "ImagingFrequency": _number(1100),
    "Manufacturer": _maker,
    "ManufacturersModelName": _model,
    "PatientPosition": _term("(HF|FF|LF|RF|AF|PF)(P|S|DR|DL)"),
    "MRAcquisitionType": _term("[123]D"),
    "ScanningSequence": _terms(_SCANNING),
    "SequenceVariant": _terms(_VARIANTS),
    "ScanOptions": _terms(_OPTIONS),
    "SliceThickness": _number(500),
    "SpacingBetweenSlices": _number(500, -500),
    "EchoNumber": _number(999),
    "EchoTime": _number(2000),
    "RepetitionTime": _number(60000),
    "InversionTime": _number(60000),
    "FlipAngle": _number(360),
    "PixelBandwidth": _number(20000),
    "EchoTrainLength": _number(2000),
    "PercentPhaseFOV": _number(1000),
    "AcquisitionMatrixPE": _number(8192),
    "ReconMatrixPE": _number(8192),
    "InPlanePhaseEncodingDirectionDICOM": _term("ROW|COL"),
    "ConversionSoftware": _term("dcm2niix|dicm2nii|dicom2nifti|heudiconv|bidscoin|dcm2bids"),
    "ConversionSoftwareVersion": _term(r"v?\d\.\d{1,2}\.20\d{6}|v?\d(\.\d{1,2}){1,2}"),
}


def scan_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that state a setting of the scan, in the order in which they came."""
    return {name: value for name, value in fields.items() if is_scan_field(name, value)}


def is_scan_field(name: str, value: Any) -> bool:
    """Tell whether a field states a setting of the scan, by its name and its value."""
    check = SCAN_FIELDS.get(name)
    return check is not None and check(value)
