"""A gated recurrent unit (Cho et al. 2014, in the form of PyTorch's) for several networks at once.

PyTorch's own takes one network at a time. Here the gradients of weights are one product over all
slices, so that what has to be done slice by slice is little.
"""

from typing import Any

import torch


class GatedRecurrence(torch.autograd.Function):
    """The states of GRUs, each of which runs forwards over the slices of the same knees.

    Weights are laid out as `torch.nn.GRU` does, gates in the order reset, update, new.
    """

    @staticmethod
    def forward(
        inputs: torch.Tensor,
        weight_input: torch.Tensor,
        weight_hidden: torch.Tensor,
        bias_input: torch.Tensor,
        bias_hidden: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return states (members, knees, slices, units), and the gates, which are for `backward`.

        `inputs` (members, knees, slices, channels); weights (members, 3 units, channels or units).
        The gates are (4, members, knees, slices, units).
        """
        members, knees, slices, channels = inputs.shape
        units = weight_hidden.shape[2]
        flat = inputs.reshape(members, knees * slices, channels)
        given = torch.baddbmm(bias_input[:, None], flat, weight_input.transpose(1, 2))
        given = given.view(members, knees, slices, 3 * units)
        across = weight_hidden.transpose(1, 2)
        state = torch.zeros_like(given[:, :, 0, :units])
        states, gates = [], []
        for place in range(slices):
            recalled = torch.baddbmm(bias_hidden[:, None], state, across)
            of_slice = given[:, :, place]
            both = torch.sigmoid(of_slice[..., : 2 * units] + recalled[..., : 2 * units])
            reset, update = both.chunk(2, dim=-1)
            memory = recalled[..., 2 * units :]
            new = torch.tanh(of_slice[..., 2 * units :] + reset * memory)
            state = torch.lerp(new, state, update)
            states.append(state)
            gates.append(torch.stack([reset, update, new, memory]))
        return torch.stack(states, dim=2), torch.stack(gates, dim=3)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Keep what the backward pass needs."""
        states, gates = output
        ctx.mark_non_differentiable(gates)
        ctx.save_for_backward(*inputs[:3], states, gates)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        """Return the gradients of the five inputs, given that of the states."""
        inputs, weight_input, weight_hidden, states, gates = ctx.saved_tensors
        members, knees, slices, channels = inputs.shape
        units = weight_hidden.shape[2]
        before = torch.cat([torch.zeros_like(states[:, :, :1]), states[:, :, :-1]], dim=2)
        reset, update, new, memory = gates
        # What a unit of the state's gradient gives to each gate, for all steps at once.
        to_new = (1 - update) * (1 - new.square())
        to_update = (before - new) * update * (1 - update)
        to_reset = to_new * memory * reset * (1 - reset)
        to_given = torch.stack([to_reset, to_update, to_new], dim=3)
        to_recalled = torch.stack([to_reset, to_update, to_new * reset], dim=3)
        flow = torch.zeros_like(states[:, :, 0])
        of_states = []
        for place in reversed(range(slices)):
            flow = flow + gradients[0][:, :, place]
            of_states.append(flow)
            back = (to_recalled[:, :, place] * flow[:, :, None]).flatten(2)
            flow = torch.baddbmm(flow * update[:, :, place], back, weight_hidden)
        along = torch.stack(of_states[::-1], dim=2)[:, :, :, None]
        given = (to_given * along).view(members, knees * slices, 3 * units)
        recalled = (to_recalled * along).view(members, knees * slices, 3 * units)
        flat = inputs.reshape(members, knees * slices, channels)
        return (
            (given @ weight_input).view(inputs.shape),
            given.transpose(1, 2) @ flat,
            recalled.transpose(1, 2) @ before.reshape(members, knees * slices, units),
            given.sum(dim=1),
            recalled.sum(dim=1),
        )
