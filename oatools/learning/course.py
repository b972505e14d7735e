"""The training of networks: batches, losses, epochs, and when to stop.

A `Training` is that of the networks of one model. A `Course` runs trainings, several of one shape
at once: on a CPU one alone; on a GPU those of all folds and permutations, since the networks are so
small that it would wait for Python to start each of their layers. There a whole step is recorded
once, and then repeated by the GPU itself. What a training learns does not depend on what runs
beside it, and on a GPU differs from a CPU by rounding alone.
"""

import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from oatools.core.errors import UsageError
from oatools.core.records import Fields, RecordError, as_read
from oatools.features.engine import moved
from oatools.learning.batches import Draws, Tensors, joined
from oatools.learning.hazard import FURTHEST
from oatools.learning.mixture import mix, strongest
from oatools.learning.model import NETWORK, Networks
from oatools.learning.outcome import Outcome
from oatools.learning.settings import Settings

#: Slices scored at a time between epochs, by all networks together.
_SLICES_SCORED = {"cpu": 1 << 13, "cuda": 1 << 18}
#: The share of a GPU's free memory that standardised features may take.
_SHARE_OF_MEMORY = 0.4
CPU = "cpu"


@dataclass
class Progress:
    """The state of a training after an epoch: enough to go on from there to the same bytes.

    That is the loss of every epoch, the networks of the best epoch and of the last one, and the
    optimiser. What is drawn in an epoch depends on its number and the seed alone.
    """

    history: list[float]
    best: dict[str, torch.Tensor]
    state: dict[str, torch.Tensor]
    optimiser: dict[str, Any]


@dataclass
class Training:
    """The training of the networks of one model, with early stopping.

    Network m, its member, learns from the knees where `fits` (members, knees) is true, and is
    watched on the others. All take their steps together. One epoch is chosen for all, on all knees:
    by the loss of the mixture of what each member said of the knees that it was watched on with the
    held-out log odds `others` of other parts. So it does not count how sure a network is of itself,
    which the mixture sets right, and it counts what it adds. One network is watched by its own
    weighted loss.

    `outcome` is that of the knees, `weights` (members, 2) are those of the classes, and `history`
    is the loss of every epoch so far. Once it has run, `networks` are those of the epoch with the
    lowest.
    """

    networks: Networks
    knees: Tensors
    outcome: Outcome
    fits: torch.Tensor
    weights: torch.Tensor
    settings: Settings
    seed: int
    others: Mapping[str, np.ndarray] = field(default_factory=dict)
    history: list[float] = field(default_factory=list)

    @property
    def steps(self) -> int:
        """The number of steps of an epoch: what the member with the most knees needs."""
        return -(-int(self.fits.sum(dim=1).max()) // self.settings.batch)

    @property
    def units(self) -> int:
        """The number of channels and units that dropout may take from a knee."""
        return self.knees.values.shape[2] + self.networks.droppable(self.knees.longest)

    def held(self, member: int) -> torch.Tensor:
        """Return the places of the knees that a member is watched on."""
        return torch.nonzero(~self.fits[member])[:, 0]

    def is_over(self) -> bool:
        """Tell whether all epochs are done, or none has been better for as many as allowed."""
        epochs = len(self.history)
        since_best = epochs - 1 - self._best_epoch()
        return epochs >= self.settings.epochs or since_best >= self.settings.patience

    def judge(self, logits: torch.Tensor) -> bool:
        """Take down the loss of an epoch, and tell whether it is the lowest yet.

        `logits` (knees, 2) are each of the member that was watched on the knee. Raises a
        `UsageError` for a loss that is not a finite number.
        """
        self.history.append(self._loss(logits))
        if not math.isfinite(self.history[-1]):
            raise UsageError(
                f"the validation loss of epoch {len(self.history)} is not a finite number",
                "look for features or clinical variables that are far too large, or lower "
                "`learning_rate`",
            )
        return self._best_epoch() == len(self.history) - 1

    def held_logits(self) -> torch.Tensor:
        """Return logits (knees, 2), each by the member that was watched on the knee, if any was."""
        return scored([self], self.networks, self.knees)[0]

    def step_size(self) -> float:
        """Return that of the next epoch.

        A cosine goes from the full step size in the first epoch to none after the last.
        """
        full = self.settings.learning_rate
        if self.settings.schedule == "constant":
            return full
        angle = math.pi * len(self.history) / self.settings.epochs
        return full * (1 + math.cos(angle)) / 2

    def order(self, epoch: int, versions: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the knees that each member learns from in an epoch, and their versions.

        Both are (members, steps, batch); there is -1 where a batch is not full. A member's batches
        are of one size, or one less, so that none is empty where another member has more knees.
        """
        shape = self.networks.members, self.steps, self.settings.batch
        knees, chosen = np.full(shape, -1), np.zeros(shape, dtype=np.int64)
        for member, fits in enumerate(self.fits.numpy()):
            drawn, own = Draws(self.seed, epoch, member), np.flatnonzero(fits)
            order = own[drawn.order(len(own))]
            version = drawn.versions(versions, len(own))
            for step, part in enumerate(np.array_split(np.arange(len(own)), self.steps)):
                knees[member, step, : len(part)] = order[part]
                chosen[member, step, : len(part)] = version[part]
        return knees, chosen

    def _best_epoch(self) -> int:
        """The first epoch with the lowest loss; 0 before the first."""
        return int(np.argmin(self.history)) if self.history else 0

    def _loss(self, logits: torch.Tensor) -> float:
        """The loss of an epoch, on the knees that are watched."""
        if self.networks.members == 1:
            held = self.held(0)
            followed = self.knees.followed[held]
            if followed.shape[1]:
                return hazard_losses(logits[held], followed).mean().item()
            own, weights = self.knees.label[held], self.weights[0]
            return functional.cross_entropy(logits[held], own, weights).item()
        odds = log_odds(logits)
        if not np.isfinite(odds).all():
            return math.nan
        parts = {**self.others, NETWORK: odds}
        signal = max(self._signal_of_others, strongest(self.outcome, {NETWORK: odds}))
        return self.outcome.loss(mix(self.outcome, parts, signal).log_odds(parts))

    @functools.cached_property
    def _signal_of_others(self) -> float:
        """The strongest signal of the other parts, which no epoch changes."""
        return strongest(self.outcome, self.others)


def usable_device(name: str) -> torch.device:
    """Return a device by its name, such as cuda:1; a `UsageError` where it cannot be had."""
    device: torch.device = moved(torch.zeros(1), name).device
    if device.type not in _SLICES_SCORED:
        raise UsageError(f"device '{name}' is no GPU of CUDA", "use `device` cpu or cuda")
    return device


def most_at_once(nbytes: int, device: torch.device) -> int:
    """Return how many trainings on features of so many bytes a device has room for, 1 or more."""
    if device.type != "cuda":
        return 1
    room = torch.cuda.mem_get_info(device)[0] * _SHARE_OF_MEMORY
    return max(1, int(room / nbytes))


def run_together(trainings: Iterable[Training], device: torch.device) -> None:
    """Run trainings to their ends, all those of one shape together.

    Raises a `UsageError` where the device has not the memory.
    """
    groups: dict[Any, list[Training]] = {}
    for training in trainings:
        groups.setdefault(_shape(training), []).append(training)
    for alike in groups.values():
        try:
            Course(alike, device).run()
        except torch.cuda.OutOfMemoryError:
            raise UsageError(
                f"the features and networks are too large for the memory of {device}",
                "use `device` cpu, or fewer `slices`",
            ) from None


def _shape(training: Training) -> tuple[Any, ...]:
    """Tell what trainings must have in common to take the same steps."""
    knees = training.knees
    widths = len(knees.values), training.units, knees.clinical.shape[1]
    members = training.networks.members
    return training.settings, training.seed, training.steps, members, widths


class Course:
    """Trainings whose networks take the same steps, side by side on a device.

    They have settings, seed, number of steps and shapes in common. Those that are over are computed
    along until all are, which takes a GPU no longer.
    """

    def __init__(self, trainings: Sequence[Training], device: torch.device) -> None:
        self._trainings, self._device = trainings, device
        self._settings = trainings[0].settings
        networks = [training.networks for training in trainings]
        self._networks = networks[0] if len(networks) == 1 else side_by_side(networks)
        self._networks.to(device)
        self._best = self._copied()
        self._is_recorded = device.type == "cuda" and len(self._networks.branches) == 1
        rate = torch.tensor(self._settings.learning_rate, device=device)
        self._optimiser = torch.optim.AdamW(
            self._networks.parameters(),
            rate if self._is_recorded else self._settings.learning_rate,
            weight_decay=self._settings.weight_decay,
            fused=True,
            capturable=self._is_recorded,
        )
        self._knees = joined([training.knees for training in trainings]).to(device)
        self._weights = torch.cat([training.weights for training in trainings]).to(device)
        # All batches are padded alike where a step is recorded.
        self._slices = self._knees.longest if self._is_recorded else None
        self._plan = _Plan(trainings, device)
        self._step: Callable[[], None] = self._take_step

    def run(
        self, start: Progress | None = None, keep: Callable[[Progress], None] | None = None
    ) -> None:
        """Train all to their ends, after which their networks hold their best epochs.

        Where there is one training alone, it goes on from `start`, and hands the progress of every
        epoch to `keep`.
        """
        if start is not None:
            self._go_on_from(start)
        if self._is_recorded:
            self._step = self._recorded()
        while not all(training.is_over() for training in self._trainings):
            self._train_epoch()
            logits = scored(self._trainings, self._networks, self._knees)
            for training, own, place in zip(self._trainings, logits, self._places(), strict=True):
                if not training.is_over() and training.judge(own):
                    for name, value in self._networks.named_parameters():
                        self._best[name][place].copy_(value.detach()[place])
            if keep is not None:
                keep(self._progress())
        for training, place in zip(self._trainings, self._places(), strict=True):
            best = {name: value[place].cpu() for name, value in self._best.items()}
            training.networks.to(CPU).load_state_dict(best, strict=False)

    def _places(self) -> list[slice]:
        """The place of each training's networks among all."""
        members = self._trainings[0].networks.members
        return [slice(n * members, (n + 1) * members) for n in range(len(self._trainings))]

    def _copied(self) -> dict[str, torch.Tensor]:
        return {n: value.detach().clone() for n, value in self._networks.named_parameters()}

    def _train_epoch(self) -> None:
        going_on = next(training for training in self._trainings if not training.is_over())
        for group in self._optimiser.param_groups:
            if self._is_recorded:
                group["lr"].fill_(going_on.step_size())
            else:
                group["lr"] = going_on.step_size()
        self._plan.draw(len(going_on.history))
        for _ in range(going_on.steps):
            self._step()

    def _take_step(self) -> None:
        """Have every network learn from its next batch."""
        batch, is_there, version, kept = self._plan.next()
        values, mask, clinical = self._knees.take(batch, version, self._slices)
        if kept is not None:
            channels = values.shape[-1]
            # From all slices of a knee at once: otherwise its neighbours would give it away.
            values *= kept[:, :, None, :channels].to(values.dtype)
            kept = kept[..., channels:]
        logits, _ = self._networks.classify(values, mask, clinical, kept)
        label, followed = self._knees.label[batch], self._knees.followed[batch]
        losses = training_loss(logits, label, followed, self._weights, is_there, self._settings)
        self._optimiser.zero_grad()
        losses.sum().backward()
        # A long series of slices can make a recurrent layer's gradient leap.
        clip_gradients_(list(self._networks.parameters()))
        self._optimiser.step()

    def _recorded(self) -> Callable[[], None]:
        """Record a step as a CUDA graph, and return what repeats it."""
        before = self._copied()
        self._plan.draw(0)
        with torch.cuda.device(self._device):
            aside, stream = torch.cuda.Stream(), torch.cuda.current_stream()
            aside.wait_stream(stream)
            with torch.cuda.stream(aside):
                for _ in range(3):  # chooses algorithms and makes moments, which is not recorded
                    self._take_step()
            stream.wait_stream(aside)
            self._optimiser.zero_grad()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                self._take_step()
        with torch.no_grad():
            for name, value in self._networks.named_parameters():
                value.copy_(before[name])
                for moment in self._optimiser.state[value].values():
                    moment.zero_()
        return graph.replay

    def _go_on_from(self, start: Progress) -> None:
        (training,) = self._trainings
        self._check(training, start)
        training.history, self._best = list(start.history), start.best
        self._networks.load_state_dict(start.state, strict=False)
        self._optimiser.load_state_dict(start.optimiser)

    def _check(self, training: Training, start: Progress) -> None:
        """Raise a `RecordError` for a progress that this training has not made."""
        own = self._progress()
        if not 0 < len(start.history) <= training.settings.epochs:
            raise RecordError("it has no epoch, or too many")
        for found in (start.best, start.state):
            _check_alike(found, own.state)
        parameters = list(self._networks.parameters())
        moments = start.optimiser["state"]
        if moments.keys() != set(range(len(parameters))):
            raise RecordError("its optimiser is that of another network")
        for place, each in enumerate(parameters):
            wanted = {"step": torch.zeros(()), "exp_avg": each, "exp_avg_sq": each}
            _check_alike(moments[place], wanted)
        _check_groups(start.optimiser["param_groups"], own.optimiser["param_groups"])

    def _progress(self) -> Progress:
        (training,) = self._trainings
        return Progress(
            history=list(training.history),
            best=self._best,
            state={name: value.detach() for name, value in self._networks.named_parameters()},
            optimiser=self._optimiser.state_dict(),
        )


class _Plan:
    """What the networks of a course draw for an epoch, and hand out step by step.

    All of an epoch lies on a GPU, from which a recorded step takes its part by itself. A CPU draws
    for one step at a time, which then is still at hand when it is used.
    """

    def __init__(self, trainings: Sequence[Training], device: torch.device) -> None:
        self._trainings, self._device = trainings, device
        first = trainings[0]
        self._share, self._batch = first.settings.dropout, first.settings.batch
        self._versions = len(first.knees.values)
        self._units, self._members, self._steps = (
            first.units,
            first.networks.members,
            first.steps,
        )
        self._all: dict[str, torch.Tensor] = {}
        self._at = torch.zeros(1, dtype=torch.long, device=device)
        self._draws: list[Draws] = []
        self._before = np.cumsum([0, *(len(training.knees) for training in trainings)])

    def draw(self, epoch: int) -> None:
        """Draw for an epoch, into the memory of the one before."""
        orders, versions = [], []
        for training, before in zip(self._trainings, self._before, strict=False):
            knees, version = training.order(epoch, self._versions)
            orders.append(np.where(knees < 0, -1, knees + before))
            versions.append(version)
        order = torch.from_numpy(np.concatenate(orders)).transpose(0, 1)
        new = {"batch": order.clamp_min(0), "is_there": order >= 0}
        if self._versions > 1:
            new["version"] = torch.from_numpy(np.concatenate(versions)).transpose(0, 1)
        # The same for all trainings of a seed, so that none depends on another.
        self._draws = [Draws(self._trainings[0].seed, epoch, m) for m in range(self._members)]
        if self._share and self._device.type != "cpu":
            new["kept"] = torch.from_numpy(np.stack([self._kept() for _ in range(self._steps)]))
        for name, value in new.items():
            if name in self._all:
                self._all[name].copy_(value)
            else:
                self._all[name] = value.contiguous().to(self._device)
        self._at.zero_()

    def next(
        self,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        """Return a step's knees (networks, batch), which of them are there, versions and factors.

        Factors (networks, batch, units) are 0 for what is dropped, and for the others so much more
        than 1 that the mean stays.
        """
        of_step = {n: value.index_select(0, self._at)[0] for n, value in self._all.items()}
        self._at += 1
        kept = of_step.get("kept")
        if kept is None and self._share:
            kept = torch.from_numpy(self._kept())
        if kept is not None:
            kept = kept.float().div_(1 - self._share).repeat(len(self._trainings), 1, 1)
        return of_step["batch"], of_step["is_there"], of_step.get("version"), kept

    def _kept(self) -> np.ndarray:
        return np.stack([each.kept(self._share, self._batch, self._units) for each in self._draws])


def side_by_side(networks: Sequence[Networks]) -> Networks:
    """Return the networks of several as one, with the scaling of the first, which is not used."""
    first = networks[0]
    made = first.of_shape(sum(each.members for each in networks))
    state = dict(first.named_buffers())
    for name, _ in first.named_parameters():
        state[name] = torch.cat([each.get_parameter(name).detach() for each in networks])
    made.load_state_dict(state, assign=True)
    return made


def scored(trainings: Sequence[Training], networks: Networks, knees: Tensors) -> list[torch.Tensor]:
    """Return logits (knees, 2) for each training, each of the member that was watched on the knee.

    `networks` are those of all trainings side by side, as are `knees`; dropout takes no part. NaN
    for knees that none was watched on.
    """
    before, places = 0, []
    for training in trainings:
        for member in range(training.networks.members):
            places.append(training.held(member) + before)
        before += len(training.knees)
    device = knees.label.device
    together = torch.nn.utils.rnn.pad_sequence(places, batch_first=True)
    at_a_time = max(1, _SLICES_SCORED[device.type] // (len(places) * knees.longest))
    logits = []
    with torch.inference_mode():
        for batch in together.to(device).split(at_a_time, dim=1):
            logits.append(networks.classify(*knees.take(batch))[0])
        all_logits = torch.cat(logits, dim=1).cpu()
    found = torch.full((before, 2), torch.nan)
    for own, place in zip(all_logits, places, strict=True):
        found[place] = own[: len(place)]
    return list(found.split([len(training.knees) for training in trainings]))


def clip_gradients_(parameters: Sequence[torch.Tensor], most: float = 1.0) -> None:
    """Shorten the gradient of each network to a norm of `most`, in place, where it is longer.

    The first axis of each parameter is that of the networks.
    """
    gradients = [each.grad.flatten(1) for each in parameters if each.grad is not None]
    norm = torch.stack([each.square().sum(dim=1) for each in gradients]).sum(dim=0).sqrt()
    shorter = (most / (norm + 1e-6)).clamp(max=1)
    for each in gradients:
        each.mul_(shorter[:, None])


def hazard_losses(logits: torch.Tensor, followed: torch.Tensor) -> torch.Tensor:
    """Return the loss (..., knees), nats, of logits (..., knees, 2) for follow-up (..., knees, 3).

    It is that of `hazard.Intervals` but for the rates at exact times, which no score changes. The
    score is what the second logit has more than the first.
    """
    score = (logits[..., 1] - logits[..., 0]).clamp(-FURTHEST, FURTHEST)
    free, width, exact = followed.unbind(-1)
    ratio = score.exp()
    inside = width > 0
    # Both branches are differentiated, so that neither may be infinite.
    went = torch.where(inside, width, torch.ones_like(width)) * ratio
    missed = torch.log(-torch.expm1(-went))
    return free * ratio - exact * score - torch.where(inside, missed, torch.zeros_like(missed))


def training_loss(
    logits: torch.Tensor,
    label: torch.Tensor,
    followed: torch.Tensor,
    weights: torch.Tensor,
    fits: torch.Tensor,
    settings: Settings,
) -> torch.Tensor:
    """Return the weighted loss (members,) of each member's mini-batch.

    `logits` are (members, knees, 2), `label` and `fits` (members, knees), which is False where
    there is no knee, and class weights (members, 2). Where knees are `followed` (members, knees, 3)
    it is the mean of `hazard_losses`. Else it is the cross entropy with label smoothing (Szegedy
    2016) and the focal factor (1 - p)^gamma (Lin 2017), divided by the number of knees, as class
    weights are 1 on average over the cohort; or by the weights of the mini-batch, which differ from
    one to the next where a class is rare.
    """
    if followed.shape[-1]:
        there = fits.to(logits.dtype)
        losses = hazard_losses(logits, followed)
        return (losses * there).sum(dim=1) / there.sum(dim=1).clamp_min(1e-12)
    logs = torch.log_softmax(logits, dim=2)
    surprise = -logs * weights[:, None]
    losses = surprise.gather(2, label[..., None])[..., 0] * (1 - settings.smoothing)
    losses = losses + surprise.mean(dim=2) * settings.smoothing
    if settings.focal:
        sure = logs.exp().gather(2, label[..., None])[..., 0]
        losses = losses * (1 - sure) ** settings.focal
    shares = fits.to(losses.dtype)
    of_knees = shares if settings.loss_over == "cohort" else shares * weights.gather(1, label)
    # A member that has no knee left learns nothing.
    return (losses * shares).sum(dim=1) / of_knees.sum(dim=1).clamp_min(1e-12)


def log_odds(logits: torch.Tensor) -> np.ndarray:
    """Return the log odds (knees,) of logits (knees, 2)."""
    return (logits[:, 1] - logits[:, 0]).double().numpy()


def _check_alike(found: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]) -> None:
    """Raise a `RecordError` for tensors of other names, shapes or types, or that are not finite."""
    if found.keys() != wanted.keys():
        raise RecordError("its tensors are not those of this network")
    for name, value in found.items():
        if value.shape != wanted[name].shape or value.dtype != wanted[name].dtype:
            raise RecordError(f"tensor '{name}' has another shape or type")
        if not torch.isfinite(value).all():
            raise RecordError(f"tensor '{name}' holds numbers that are not finite")


def _check_groups(found: Any, wanted: Sequence[dict[str, Any]]) -> None:
    """Raise a `RecordError` for an optimiser of other settings, but for the step size of now."""
    plain = as_read(list(wanted))
    if not isinstance(found, list) or len(found) != len(plain):
        raise RecordError("its optimiser is another")
    for group, own in zip(found, plain, strict=True):
        fields = Fields.of(group, "a group")
        rate = fields.number("lr", 0)
        if {**fields.values, "lr": rate} != {**own, "lr": rate}:
            raise RecordError("its optimiser has other settings")
