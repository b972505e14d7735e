"""The words of which sequences' names are made, and what of a description is made of these alone.

Descriptions are free text: beside planes and pulses people type names, dates and numbers into
them, in any script and spelling. What must not come out cannot be listed, so that what may come out
is: the words of the field, as scanners of Siemens, GE, Philips, Canon and Hitachi, the OAI, MOST,
fastMRI and SKM-TEA write them. A word counts whole. Words that are also the names of people are
left out where a knee can be described without them (the sequences PETRA and OMAR, `fast`, `norm`),
as are single letters, which initials are, and numbers that nothing binds to a setting.
"""

import re
import unicodedata
from typing import Any, NamedTuple


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_PLANES = "cor sag ax tra trans transv coronal sagittal axial transverse transversal"
_WEIGHTS = "pd pdw t1w t2w t1 t2 iw dp"

#: All of them, in small letters.
WORDS = _words(
    f"{_PLANES} {_WEIGHTS} "
    # planes in other languages, and oblique ones
    "koronar koronal koronare coronale coronales sagital sagittale sagitale axiale axiales "
    "transversale oblique obl obliq paracor parasag orthogonal plane planes "
    # weightings
    "t2s t2star t1rho t1map t2map t2smap t1fs t2fs proton density intermediate weighted weighting "
    # pulses, and what vendors call them
    "se tse fse frfse ffse gre fgre spgr fspgr efgre mpgr merge medic dess qdess mdess fisp "
    "truefisp trufi psif ciss fiesta flash turboflash tfl vibe starvibe lava thrive ffe tfe bffe "
    "btfe tffe mffe space cube vista isofse mpr mprage haste ssfse ssfp bssfp epi grase tgse "
    "hyperecho ute zte blade propeller multivane radar jet radial spiral restore sarge basg rssg "
    "tigre ir ir1 ir2 irse irtse irfse irprep inversion recovery stir turbostir faststir flair "
    "tirm tir darkfluid fluid dual double triple echo echoes multiecho mecho megre mese multi "
    "single shot turbo prep steady state spin gradient "
    # fat and water
    "fs nofs nonfs fatsat fatsup fat sat presat sup supp suppressed suppression spair spir "
    "spectral chess proset we wfs ws water waterexc excitation dixon mdixon qdixon idealiq ideal "
    "flex inphase outphase opphase opposed phase silicone lipid "
    # metal, motion, parallel imaging, reconstruction
    "semac mavric warp vat metal hibw highbw grappa sense csense asset arc ipat caipi caipirinha "
    "smash speeder rapid cs hypersense compressed sms mb fbk resolve dl drb drs drg dlr airdl "
    "recon rec reconstruction reformat reformats reformatted interpolated zip zip2 zip512 nd dis2d "
    "dis3d unfiltered filtered moco motion "
    # resolution
    "hr lr hd hires highres res resolution iso isotropic voxel gap mm 2d 3d 4d dynamic vol volume "
    "volumetric "
    # maps, diffusion, contrast
    "map maps mapping mapit mapi cartigram calc calculated relaxation dti dwi dwibs adc diff "
    "diffusion dce perf perfusion swi tof mra mrv fmri asl mt mtc gagcest cest b0 b1 fieldmap pre "
    "post native nativ contrast gd gadolinium subtraction mip minip "
    # locators, tests and pilots
    "loc locs localizer localiser localizers localisers localizador locator scout scouts survey "
    "pilot prescription calibration mp test phantom synthetic coil ref reference asc desc int "
    "ascending descending interleaved sequential mosaic "
    # the knee and what is near
    "knee knees knie knies kniegelenk kniegelenks genou genoux rodilla rodillas joelho joelhos "
    "ginocchio ginocchia polvi polven knä knæ kolano kolana patella patellar patellofemoral femur "
    "femoral tibia tibial acl pcl mcl lcl meniscus menisci meniscal cartilage cart joint extremity "
    "thigh thighs leg legs hip hips ankle pelvis upright supine prone weightbearing flexion "
    "extension flexed extended both bilateral left right and und et lt rt "
    # of series
    "mr mri mrt irm scan scans series sequence protocol routine study image images slice slices "
    "thick thickness"
)

# A weighting, with what is often run together with it: CORPDFS, T2TSE, PDcor, KneePD, 3DT1. No name
# of a person goes on like that, as each has one of the weightings in it.
_PLANE = "(?:cor|sag|ax|tra)"
_WEIGHT = "(?:pdw?|t[12]w?|iw|dp)"
_FAT = "(?:fs|fatsat|spair|spir|stir|we|dixon)"
_PULSE = "(?:tse|fse|frfse|se|gre|ffe|tfe|spgr|fspgr|flash|vibe|space|cube|vista|dess|mpr|flair)"
_GLUED = re.compile(
    f"(?:knee)?(?:[23]d)?{_PLANE}?{_WEIGHT}{_PLANE}?{_FAT}?(?:[23]d)?{_PULSE}?{_FAT}?{_PLANE}?"
    f"|{_PLANE}(?:stir|flair|[23]d)|[23]d{_PULSE}"
)
# Numbers that are bound to what they measure: 3mm, 35sl, te30, thk1p5, fov160, grappa2, e1.
_BOUND = re.compile(
    r"\d{1,2}(?:p\d{1,2})?mm|\d{1,2}(?:sl|ch|nex|deg|pl|plane)|sl\d{1,2}|thk?\d(?:p\d{1,2})?|"
    r"te[1-9]\d{0,2}|ti[1-9]\d{1,2}0|tr[1-9]\d{0,1}00|fa[1-9]\d{0,2}|b(?:0|50|[1-9]00|1000)|"
    r"fov\d{2,3}|bw\d{2,3}|etl\d{1,2}|nex\d|p[2-4]|r[2-4]|x[2-4]|arcx?[2-4]|"
    r"(?:grappa|sense|csense|cs|asset|ipat|acc|caipi|mb|sms)[1-9]|e(?:cho)?[1-9]\d?|"
    r"(?:pd|t1|t2|fs|tse|fse|dess)[1-9]"
)
# Sizes of a matrix, by which protocols of Siemens end: pd_tse_fs_sag_320.
_MATRICES = _words("128 192 224 256 288 320 352 384 416 448 480 512 576 640 768 1024")
_SMALL_NUMBER = re.compile(r"\d{1,2}")
_TIMES = _words("te ti tr fa etl nex")
_LEADING = _TIMES | _words("echo grappa sense cs asset ipat acc gap mb sms")
_FOLLOWING = _words("mm plane planes sl slice slices echo echoes shot nex ch deg")
_MM = re.compile(r"\d{1,2}mm")

#: What stands at the end of a name for words that are none of the field's.
HIDDEN = re.compile(r"x[0-9a-f]{8}")
_TOKEN = re.compile(r"[^\W_]+")


class Described(NamedTuple):
    """A description, taken apart: the words of the field, and the others, in order."""

    kept: list[str]
    others: list[str]


def described(text: str) -> Described:
    """Tell the words of the field in a description from all others, in small letters.

    described("SAG_T2 Smith 3mm") == (["sag", "t2", "3mm"], ["smith"])
    """
    tokens = _TOKEN.findall(unicodedata.normalize("NFC", text).casefold())
    kept: list[str] = []
    others: list[str] = []
    for position, token in enumerate(tokens):
        before = tokens[position - 1] if position else ""
        after = tokens[position + 1] if position + 1 < len(tokens) else ""
        (kept if _is_known(token, before, after) else others).append(token)
    return Described(kept, others)


def is_sequence_name(value: Any) -> bool:
    """Tell whether a text names a sequence in words of the field alone, such as `cor-iw-tse`.

    One such name may end in a digest of other words, see `HIDDEN`.
    """
    if not isinstance(value, str):
        return False
    name, _, last = value.casefold().rpartition("-")
    is_hidden = HIDDEN.fullmatch(last) is not None
    found = described(name if is_hidden else value)
    return not found.others and (is_hidden or bool(found.kept))


def _is_known(token: str, before: str, after: str) -> bool:
    if token in WORDS or token in _MATRICES:
        return True
    if _GLUED.fullmatch(token) or _BOUND.fullmatch(token):
        return True
    if token == "w":  # PD W TSE
        return before in _WEIGHTS.split()
    if token in _TIMES:
        return _SMALL_NUMBER.fullmatch(after) is not None
    is_bound = before in _LEADING or after in _FOLLOWING or _MM.fullmatch(after) is not None
    return is_bound and _SMALL_NUMBER.fullmatch(token) is not None
