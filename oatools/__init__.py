"""Predict, from a baseline MRI, which osteoarthritic knees will lose cartilage.

The commands (`oa-convert` to `oa-pairs`) and this package do the same work. From Python:

    import oatools

    knee = oatools.read_volume("9000099_00m_right_cor-iw-tse.nii.gz")
    knee = oatools.to_canonical(knee, side="right", sequence="cor-iw-tse")
    knee = oatools.correct_bias(knee).corrected
    features = oatools.embed_volume(knee)

    cohort = oatools.load_cohort("features.tsv", "labels.tsv", clinical="bmi", slices=8)
    result = oatools.cross_validate(cohort)

`examples/python.md` goes on from here. Each name is imported when it is first used, so that
`import oatools` costs nothing. Whatever a caller can cause and mend is raised as an `OatoolsError`.
"""

from oatools.version import __version__

TYPE_CHECKING = False  # as type checkers know it, without the start of the module `typing`

#: The module in which each public name is defined.
_PUBLIC = {
    # One knee.
    "Volume": "oatools.imaging.volume",
    "read_volume": "oatools.imaging.volume",
    "write_volume": "oatools.imaging.volume",
    "to_canonical": "oatools.imaging.orient",
    "N4Settings": "oatools.n4.settings",
    "correct_bias": "oatools.n4.correct",
    "EngineSettings": "oatools.features.engine",
    "EmbedSettings": "oatools.features.embed",
    "embed_volume": "oatools.features.embed",
    "Features": "oatools.features.featurefile",
    "read_features": "oatools.features.featurefile",
    "write_features": "oatools.features.featurefile",
    # Many knees.
    "label_knees": "oatools.oai.labels",
    "load_cohort": "oatools.learning.load",
    "make_cohort": "oatools.learning.cohort",
    "Settings": "oatools.learning.settings",
    "cross_validate": "oatools.learning.crossval",
    "FollowUp": "oatools.learning.followup",
    "follow_up_metrics": "oatools.survival.crossval",
    # A model.
    "fit": "oatools.learning.training",
    "save_model": "oatools.learning.files",
    "load_model": "oatools.learning.files",
    "predict": "oatools.learning.model",
    "explain_volume": "oatools.explain.explanation",
    # Files of all kinds.
    "check": "oatools.checking.check",
    # Errors.
    "OatoolsError": "oatools.core.errors",
    "ItemError": "oatools.core.errors",
    "UsageError": "oatools.core.errors",
}

__all__ = ["__version__", *_PUBLIC]

if TYPE_CHECKING:
    from oatools.checking.check import check as check
    from oatools.core.errors import ItemError as ItemError
    from oatools.core.errors import OatoolsError as OatoolsError
    from oatools.core.errors import UsageError as UsageError
    from oatools.explain.explanation import explain_volume as explain_volume
    from oatools.features.embed import EmbedSettings as EmbedSettings
    from oatools.features.embed import embed_volume as embed_volume
    from oatools.features.engine import EngineSettings as EngineSettings
    from oatools.features.featurefile import Features as Features
    from oatools.features.featurefile import read_features as read_features
    from oatools.features.featurefile import write_features as write_features
    from oatools.imaging.orient import to_canonical as to_canonical
    from oatools.imaging.volume import Volume as Volume
    from oatools.imaging.volume import read_volume as read_volume
    from oatools.imaging.volume import write_volume as write_volume
    from oatools.learning.cohort import make_cohort as make_cohort
    from oatools.learning.crossval import cross_validate as cross_validate
    from oatools.learning.files import load_model as load_model
    from oatools.learning.files import save_model as save_model
    from oatools.learning.followup import FollowUp as FollowUp
    from oatools.learning.load import load_cohort as load_cohort
    from oatools.learning.model import predict as predict
    from oatools.learning.settings import Settings as Settings
    from oatools.learning.training import fit as fit
    from oatools.n4.correct import correct_bias as correct_bias
    from oatools.n4.settings import N4Settings as N4Settings
    from oatools.oai.labels import label_knees as label_knees
    from oatools.survival.crossval import follow_up_metrics as follow_up_metrics
else:

    def __getattr__(name: str) -> object:
        """Import a public name when it is first asked for (PEP 562)."""
        if name not in _PUBLIC:
            raise AttributeError(f"module 'oatools' has no attribute '{name}'")
        import importlib

        value = getattr(importlib.import_module(_PUBLIC[name]), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
