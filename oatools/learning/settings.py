"""What a training run can be told, with defaults that suit a hundred to some thousand knees."""

from dataclasses import asdict, dataclass, field
from typing import Any

from oatools.core.errors import UsageError

THRESHOLD_RULES = ("youden", "f1")


def _option(default: Any, help: str) -> Any:
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True)
class Settings:
    """The model's sizes and its training. The paper names none of these; each is an option of `oa-train` and `oa-cv`.

    The sizes are small and the dropout is high because 1280 noisy channels meet a few hundred positive knees.
    """

    slices: int | None = _option(None, "Consecutive slices around the middle one; all if not given.")
    conv: int = _option(64, "Channels of the convolution along the slices.")
    kernel: int = _option(3, "Slices that the convolution spans (odd).")
    gru: int = _option(64, "Units of the recurrent layer.")
    hidden: int = _option(64, "Units of the perceptron's hidden layer.")
    dropout: float = _option(0.4, "Share of the channels (and hidden units) dropped in training.")
    learning_rate: float = _option(5e-4, "Step size of AdamW.")
    weight_decay: float = _option(0.05, "Weight decay of AdamW.")
    batch: int = _option(32, "Knees in a mini-batch.")
    epochs: int = _option(100, "Passes over the knees at most.")
    patience: int = _option(15, "Passes without a better validation loss after which training stops.")
    validation: float = _option(0.2, "Share of the training patients kept for epoch and threshold.")
    threshold_rule: str = _option("youden", "How the threshold is chosen on those: youden or f1.")
    balanced: bool = _option(True, "Weigh classes by inverse frequency.")
    augmented: bool = _option(False, "Train on the varied copies of `oa-embed --augment` too.")

    def __post_init__(self) -> None:
        counts = ("conv", "kernel", "gru", "hidden", "batch", "epochs", "patience")
        low = next((n for n in counts if getattr(self, n) < 1), None)
        low = "slices" if self.slices is not None and self.slices < 1 else low
        if low:
            raise UsageError(f"{low} is {getattr(self, low)}; it must be at least 1")
        if self.kernel % 2 == 0:
            raise UsageError(f"kernel is {self.kernel}; it must be odd, so that it is centred on a slice")
        if not 0 <= self.dropout < 1:
            raise UsageError(f"dropout is {self.dropout}; it must be at least 0 and less than 1")
        if not 0 < self.validation <= 0.5:
            raise UsageError(f"validation is {self.validation}; it must be more than 0 and at most 0.5")
        if self.learning_rate <= 0 or self.weight_decay < 0:
            raise UsageError("learning rate must be positive and weight decay not negative")
        if self.threshold_rule not in THRESHOLD_RULES:
            raise UsageError(f"no threshold rule '{self.threshold_rule}'; there are {', '.join(THRESHOLD_RULES)}")

    def as_dict(self) -> dict[str, Any]:
        """The settings as plain values, as a model records them."""
        return asdict(self)
