"""The settings of a training run, with defaults that suit a hundred to some thousand knees."""

import dataclasses
from dataclasses import asdict, dataclass, field
from typing import Any

from oatools.core.errors import UsageError
from oatools.core.records import Fields, RecordError, plain_text
from oatools.core.suggestions import with_meant

#: Attention heads of the transformer.
HEADS = 4
#: The groups that settings are shown in.
MODEL, NETWORK, TRAINING = "Model", "Network", "Course of training"
#: What linear parts read of the slices of a knee, see `learning.linear`.
VIEWS = ("mean", "max", "min", "sd", "position")
#: The most units, epochs and the like that a model may record.
MOST = 1 << 20


@dataclass(frozen=True)
class Option:
    """The form in which a setting is given on a command line.

    `kind` is the type of its value, `tuple` for whole numbers separated by commas, or for words of
    `choices`. Otherwise `choices` are the words that it may be, the default first. `group` is the
    title of the settings that it is shown among. `opposite` names the flag that switches a truth
    value off. `tunable` settings may differ between models whose validation losses are compared:
    they change neither the knees nor how these are weighed.
    """

    help: str
    kind: type[Any]
    group: str
    choices: tuple[str, ...] = ()
    opposite: str = ""
    tunable: bool = False


def _setting(
    default: Any, help: str, kind: type[Any] | None = None, *, group: str, **more: Any
) -> Any:
    option = Option(help, kind or type(default), group, **more)
    return field(default=default, metadata={"option": option})


def _choice(*choices: str, help: str, group: str, tunable: bool = False) -> Any:
    return _setting(choices[0], help, group=group, choices=choices, tunable=tunable)


@dataclass(frozen=True)
class Settings:
    """The parts and sizes of the model and the course of its training; each is an option.

    By default linear parts read what is alike in all slices and what differs between them, and
    networks with attention what is beyond them, each as far as it helps on patients set aside. The
    sizes are small and the dropout is high because 1280 noisy channels meet a few hundred positive
    knees. `PRESETS["paper"]` is the model of Schiratti et al. (2021), who name no sizes.
    """

    slices: int | None = _setting(
        None, "Consecutive slices around the middle one; all if not given.", int, group=MODEL
    )
    linear: tuple[str, ...] = _setting(
        VIEWS,
        "Linear parts: ridge regressions on so much of the slices, their strengths weighed by "
        "inner cross-validation, and on the clinical variables; none for a network alone.",
        choices=VIEWS,
        group=MODEL,
    )
    network: bool = _setting(
        True, "Also train networks beside the linear parts.", opposite="no-network", group=MODEL
    )
    inner: str = _choice(
        "rotate",
        "single",
        help="What is set aside to choose by: rotate (each part of the training patients in turn, "
        "and the mean of the networks), or single (one part alone; no linear parts).",
        group=MODEL,
    )
    pooling: str = _choice(
        "attention",
        "gru",
        "gated",
        "mean",
        "max",
        "transformer",
        help="How networks pool slice features: attention or gated (Ilse 2018), gru (the paper's), "
        "mean, max, or transformer.",
        tunable=True,
        group=NETWORK,
    )
    instance: tuple[int, ...] = _setting(
        (),
        "Units of dense layers that each slice goes through first (default: none).",
        group=NETWORK,
    )
    conv: int = _setting(
        64, "Channels of the convolution along the slices (gru).", tunable=True, group=NETWORK
    )
    kernel: int = _setting(
        3, "Slices that the convolution spans, odd (gru).", tunable=True, group=NETWORK
    )
    units: int = _setting(
        64,
        "Units of the recurrent layer or of the attention, or width of the transformer.",
        tunable=True,
        group=NETWORK,
    )
    hidden: int = _setting(
        64,
        "Units of the perceptron's hidden layer; 0 for a linear classifier.",
        tunable=True,
        group=NETWORK,
    )
    dropout: float = _setting(
        0.4,
        "Share of the channels (and hidden units) dropped in training.",
        tunable=True,
        group=NETWORK,
    )
    learning_rate: float = _setting(5e-4, "Step size of AdamW.", tunable=True, group=TRAINING)
    schedule: str = _choice(
        "constant",
        "cosine",
        help="How the step size changes over the epochs: constant, or down a cosine to 0.",
        tunable=True,
        group=TRAINING,
    )
    weight_decay: float = _setting(0.05, "Weight decay of AdamW.", tunable=True, group=TRAINING)
    batch: int = _setting(32, "Knees in a mini-batch, at most.", tunable=True, group=TRAINING)
    epochs: int = _setting(100, "Maximum number of epochs.", tunable=True, group=TRAINING)
    patience: int = _setting(
        10,
        "Stop after this many epochs without a lower validation loss.",
        tunable=True,
        group=TRAINING,
    )
    validation: float = _setting(
        0.2,
        "Share of the training patients set aside at a time, to weigh strengths, and choose epoch "
        "and threshold.",
        group=TRAINING,
    )
    threshold_rule: str = _choice(
        "youden",
        "f1",
        help="Rule for the threshold, applied to patients that were set aside.",
        group=TRAINING,
    )
    balanced: bool = _setting(
        False,
        "Weight classes by inverse frequency in the network's loss.",
        opposite="unbalanced",
        group=TRAINING,
    )
    loss_over: str = _choice(
        "cohort",
        "batch",
        help="What the weighted loss is divided by: the weights of the cohort, or those of the "
        "mini-batch (which gives a rare class less than its share).",
        group=TRAINING,
    )
    clinical_norm: str = _choice(
        "variable",
        "all",
        help="Size of the clinical variables beside the pooled features: that of one feature each "
        "(variable), or of all features together (all).",
        group=NETWORK,
    )
    focal: float = _setting(
        0.0,
        "Exponent of the focal loss (Lin 2017); 0 is cross entropy.",
        tunable=True,
        group=TRAINING,
    )
    smoothing: float = _setting(
        0.0,
        "Label smoothing, 0 to less than 1: the share of certainty taken off a label.",
        tunable=True,
        group=TRAINING,
    )
    augmented: bool = _setting(
        False, "Also train on the augmented copies that oa-embed stored.", group=TRAINING
    )
    precision: str = _choice(
        "float32",
        "bf16",
        help="Type of the features in training; bf16 is faster on processors with bf16 arithmetic.",
        group=TRAINING,
    )

    def __post_init__(self) -> None:
        # A list, where it comes from a model's record.
        object.__setattr__(self, "instance", tuple(self.instance))
        object.__setattr__(self, "linear", tuple(self.linear))
        self._check_counts()
        self._check_shares()
        self._check_parts()
        for name, option in options().items():
            value = getattr(self, name)
            if option.choices and option.kind is not tuple and value not in option.choices:
                shown = name.replace("_", " ")
                raise UsageError(f"no {shown} '{value}'", f"there are {', '.join(option.choices)}")

    def _check_counts(self) -> None:
        for name in ("slices", "conv", "kernel", "units", "batch", "epochs", "patience"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} is {value}", "it must be at least 1")
        if self.hidden < 0 or min(self.instance, default=1) < 1:
            raise UsageError(
                "hidden must not be negative, and the layers of instance have at least 1 unit"
            )
        if self.kernel % 2 == 0:
            raise UsageError(
                f"kernel is {self.kernel}", "it must be odd, so that it is centred on a slice"
            )
        multiple = 2 * HEADS
        if self.pooling == "transformer" and self.units % multiple:
            raise UsageError(
                f"units is {self.units}",
                f"a transformer of {HEADS} heads needs a multiple of {multiple}",
            )

    def _check_parts(self) -> None:
        unknown = [view for view in self.linear if view not in VIEWS]
        if unknown or len(set(self.linear)) < len(self.linear):
            raise UsageError(
                f"linear is {','.join(self.linear)}", f"give some of {', '.join(VIEWS)}, each once"
            )
        if not (self.linear or self.network):
            raise UsageError("neither linear parts nor a network is left", "give `linear` views")
        if self.inner == "single" and (self.linear or not self.network):
            raise UsageError(
                "linear parts need all training patients set aside in turn",
                "use `inner` rotate, or `linear` none",
            )

    def _check_shares(self) -> None:
        if not 0 <= self.dropout < 1:
            raise UsageError(f"dropout is {self.dropout}", "it must be at least 0 and less than 1")
        if not 0 <= self.smoothing < 1 or self.focal < 0:
            raise UsageError("smoothing must be at least 0 and less than 1, and focal not negative")
        if not 0 < self.validation <= 0.5:
            raise UsageError(
                f"validation is {self.validation}", "it must be more than 0 and at most 0.5"
            )
        if self.learning_rate <= 0 or self.weight_decay < 0:
            raise UsageError("learning rate must be positive and weight decay not negative")

    @classmethod
    def from_record(cls, fields: Fields) -> "Settings":
        """Rebuild settings from what `as_dict` gave; a `RecordError` for anything else."""
        known = options()
        unknown = sorted(set(fields.values) - set(known))
        if unknown:
            raise RecordError(f"there is no setting '{plain_text(unknown[0])}'")
        values = {name: _recorded(fields, name, known[name]) for name in fields.values}
        try:
            return cls(**values)
        except UsageError as error:
            raise RecordError(error.reason) from None

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as plain values, as a model records them."""
        return asdict(self) | {"instance": list(self.instance), "linear": list(self.linear)}


def _recorded(fields: Fields, name: str, option: Option) -> Any:
    """Return one setting of a record, of the kind and in the range that it may have."""
    if option.kind is tuple and option.choices:
        return tuple(fields.texts(name))
    if option.kind is tuple:
        fields.numbers(name)
        return tuple(Fields({name: each}).whole(name, 1, MOST) for each in fields.values[name])
    if option.kind is bool:
        return fields.flag(name)
    if option.kind is float:
        return fields.number(name)
    if option.kind is str:
        return fields.text(name)
    return fields.whole(name, 0, MOST) if fields.has(name) else None


def options() -> dict[str, Option]:
    """Return how each setting is given on a command line, by its name, in order."""
    return {each.name: each.metadata["option"] for each in dataclasses.fields(Settings)}


DEFAULTS = Settings()

#: Settings by name, for what differs from the defaults. `paper` is the model of Schiratti et al.
#: (2021): one network, its epoch and threshold chosen on a fifth of the training patients.
PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    "paper": {
        "linear": (),
        "inner": "single",
        "pooling": "gru",
        "patience": 15,
        "balanced": True,
        "loss_over": "batch",
        "clinical_norm": "all",
    },
}


def preset(name: str, **changes: Any) -> Settings:
    """Return the settings of a preset, but for `changes`; a `UsageError` for an unknown one."""
    if name not in PRESETS:
        there_are = f"there are {', '.join(PRESETS)}"
        raise UsageError(f"there is no preset '{name}'", with_meant(there_are, name, PRESETS))
    return Settings(**{**PRESETS[name], **changes})
