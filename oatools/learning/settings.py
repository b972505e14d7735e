"""The settings of a training run, with defaults that suit a hundred to some thousand knees."""

import dataclasses
from dataclasses import asdict, dataclass, field
from typing import Any

from oatools.core.errors import UsageError
from oatools.core.records import Fields, RecordError, plain_text

#: Attention heads of the transformer.
HEADS = 4
#: The most units, epochs and the like that a model may record.
MOST = 1 << 20


@dataclass(frozen=True)
class Option:
    """The form in which a setting is given on a command line.

    `kind` is the type of its value, `tuple` for whole numbers separated by commas. `choices` are
    the words that it may be, the default first. `opposite` names the flag that switches a truth
    value off. `tunable` settings may differ between models whose validation losses are compared:
    they change neither the knees nor how these are weighed.
    """

    help: str
    kind: type[Any]
    choices: tuple[str, ...] = ()
    opposite: str = ""
    tunable: bool = False


def _setting(default: Any, help: str, kind: type[Any] | None = None, **more: Any) -> Any:
    option = Option(help, kind or type(default), **more)
    return field(default=default, metadata={"option": option})


def _choice(*choices: str, help: str, tunable: bool = False) -> Any:
    return _setting(choices[0], help, choices=choices, tunable=tunable)


@dataclass(frozen=True)
class Settings:
    """The sizes of the model and the course of its training.

    The paper names none of these; each is an option of `oa-train` and `oa-cv`. The sizes are small
    and the dropout is high because 1280 noisy channels meet a few hundred positive knees.
    """

    slices: int | None = _setting(
        None, "Consecutive slices around the middle one; all if not given.", int
    )
    pooling: str = _choice(
        "gru",
        "attention",
        "gated",
        "mean",
        "max",
        "transformer",
        help="How slice features are pooled: gru (the paper's), attention or gated (Ilse 2018), "
        "mean, max, or transformer.",
        tunable=True,
    )
    instance: tuple[int, ...] = _setting(
        (), "Units of dense layers that each slice goes through first (default: none)."
    )
    conv: int = _setting(64, "Channels of the convolution along the slices (gru).", tunable=True)
    kernel: int = _setting(3, "Slices that the convolution spans, odd (gru).", tunable=True)
    units: int = _setting(
        64,
        "Units of the recurrent layer or of the attention, or width of the transformer.",
        tunable=True,
    )
    hidden: int = _setting(
        64,
        "Units of the perceptron's hidden layer; 0 for a linear classifier.",
        tunable=True,
    )
    dropout: float = _setting(
        0.4, "Share of the channels (and hidden units) dropped in training.", tunable=True
    )
    learning_rate: float = _setting(5e-4, "Step size of AdamW.", tunable=True)
    schedule: str = _choice(
        "constant",
        "cosine",
        help="How the step size changes over the epochs: constant, or down a cosine to 0.",
        tunable=True,
    )
    weight_decay: float = _setting(0.05, "Weight decay of AdamW.", tunable=True)
    batch: int = _setting(32, "Knees in a mini-batch.", tunable=True)
    epochs: int = _setting(100, "Maximum number of epochs.", tunable=True)
    patience: int = _setting(
        15,
        "Stop after this many epochs without a lower validation loss.",
        tunable=True,
    )
    validation: float = _setting(
        0.2, "Share of the training patients set aside to choose the epoch and the threshold."
    )
    threshold_rule: str = _choice(
        "youden", "f1", help="Rule for the threshold, applied to the validation patients."
    )
    balanced: bool = _setting(True, "Weight classes by inverse frequency.", opposite="unbalanced")
    focal: float = _setting(
        0.0, "Exponent of the focal loss (Lin 2017); 0 is cross entropy.", tunable=True
    )
    smoothing: float = _setting(
        0.0,
        "Label smoothing, 0 to less than 1: the share of certainty taken off a label.",
        tunable=True,
    )
    augmented: bool = _setting(False, "Also train on the augmented copies that oa-embed stored.")
    precision: str = _choice(
        "float32",
        "bf16",
        help="Type of the features in training; bf16 is faster on processors with bf16 arithmetic.",
    )

    def __post_init__(self) -> None:
        # A list, where it comes from a model's record.
        object.__setattr__(self, "instance", tuple(self.instance))
        self._check_counts()
        self._check_shares()
        for name, option in options().items():
            value = getattr(self, name)
            if option.choices and value not in option.choices:
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
        return asdict(self) | {"instance": list(self.instance)}


def _recorded(fields: Fields, name: str, option: Option) -> Any:
    """Return one setting of a record, of the kind and in the range that it may have."""
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
