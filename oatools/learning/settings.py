"""What a training run can be told, with defaults that suit a hundred to some thousand knees."""

from dataclasses import asdict, dataclass, field
from typing import Any

from oatools.core.errors import UsageError

#: The values of settings that are words; the first is the default.
CHOICES = {
    "pooling": ("gru", "attention", "gated", "mean", "max", "transformer"),
    "schedule": ("constant", "cosine"),
    "threshold_rule": ("youden", "f1"),
    "precision": ("float32", "bf16"),
}
#: What may differ between models whose validation losses are compared: neither the knees nor how
#: they are weighed.
TUNABLE = (
    "pooling",
    "conv",
    "kernel",
    "units",
    "hidden",
    "dropout",
    "learning_rate",
    "schedule",
    "weight_decay",
    "batch",
    "epochs",
    "patience",
    "focal",
    "smoothing",
)
#: Of the transformer's attention.
HEADS = 4


def _option(default: Any, help: str) -> Any:
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True)
class Settings:
    """The model's sizes and its training. The paper names none of these; each is an option of `oa-train` and `oa-cv`.

    The sizes are small and the dropout is high because 1280 noisy channels meet a few hundred
    positive knees.
    """

    slices: int | None = _option(
        None, "Consecutive slices around the middle one; all if not given."
    )
    pooling: str = _option(
        "gru", "From slices to a knee: the paper's, Ilse's two, plain ones, or a transformer."
    )
    instance: tuple[int, ...] = _option(
        (), "Units of dense layers that each slice goes through first (none)."
    )
    conv: int = _option(64, "Channels of the convolution along the slices (gru).")
    kernel: int = _option(3, "Slices that the convolution spans, odd (gru).")
    units: int = _option(
        64, "Units of the recurrent layer or of the attention, or width of the transformer."
    )
    hidden: int = _option(64, "Units of the perceptron's hidden layer; 0 for a linear classifier.")
    dropout: float = _option(0.4, "Share of the channels (and hidden units) dropped in training.")
    learning_rate: float = _option(5e-4, "Step size of AdamW.")
    schedule: str = _option(
        "constant", "How the step size goes over --epochs: constant, or down a cosine to 0."
    )
    weight_decay: float = _option(0.05, "Weight decay of AdamW.")
    batch: int = _option(32, "Knees in a mini-batch.")
    epochs: int = _option(100, "Passes over the knees at most.")
    patience: int = _option(
        15, "Passes without a better validation loss after which training stops."
    )
    validation: float = _option(0.2, "Share of the training patients kept for epoch and threshold.")
    threshold_rule: str = _option("youden", "How the threshold is chosen on those.")
    balanced: bool = _option(True, "Weigh classes by inverse frequency.")
    focal: float = _option(0.0, "Exponent of the focal loss (Lin 2017); 0 is cross entropy.")
    smoothing: float = _option(0.0, "Label smoothing: the share of certainty taken off a label.")
    augmented: bool = _option(False, "Train on the varied copies of `oa-embed --augment` too.")
    precision: str = _option(
        "float32", "Of the features in training; bf16 is faster where the processor multiplies it."
    )

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "instance", tuple(self.instance)
        )  # a list, as it comes from a model's record
        low = next(
            (
                n
                for n in ("conv", "kernel", "units", "batch", "epochs", "patience")
                if getattr(self, n) < 1
            ),
            None,
        )
        low = "slices" if self.slices is not None and self.slices < 1 else low
        if low:
            raise UsageError(f"{low} is {getattr(self, low)}; it must be at least 1")
        if self.hidden < 0 or min(self.instance, default=1) < 1:
            raise UsageError(
                "hidden must not be negative, and the layers of instance have at least 1 unit"
            )
        if self.kernel % 2 == 0:
            raise UsageError(
                f"kernel is {self.kernel}; it must be odd, so that it is centred on a slice"
            )
        if self.pooling == "transformer" and self.units % (2 * HEADS):
            raise UsageError(
                f"units is {self.units}; a transformer of {HEADS} heads needs a multiple of {2 * HEADS}"
            )
        if not 0 <= self.dropout < 1:
            raise UsageError(f"dropout is {self.dropout}; it must be at least 0 and less than 1")
        if not 0 <= self.smoothing < 1 or self.focal < 0:
            raise UsageError("smoothing must be at least 0 and less than 1, and focal not negative")
        if not 0 < self.validation <= 0.5:
            raise UsageError(
                f"validation is {self.validation}; it must be more than 0 and at most 0.5"
            )
        if self.learning_rate <= 0 or self.weight_decay < 0:
            raise UsageError("learning rate must be positive and weight decay not negative")
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise UsageError(
                    f"no {name.replace('_', ' ')} '{getattr(self, name)}'; there are {', '.join(known)}"
                )

    def as_dict(self) -> dict[str, Any]:
        """The settings as plain values, as a model records them."""
        return asdict(self) | {"instance": list(self.instance)}
