"""A copy of the trained weights of a policy: what a reference is made of, and a slow copy.

    policy of before  =  weights that nothing trains, shared with the policy  +  a copy of those that are trained

With low-rank updates the copy is small, and one taken before the first update is the policy with its updates switched
off (B = 0). Weights in 4 bits are shared, so such a reference computes what the policy computes, rounding included.
A second model loaded from the checkpoint would cost a whole model, and would differ by the rounding to 4 bits.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import final

import torch

from vergence.model.families.family import Role
from vergence.model.parameters import Training, trained_parameters
from vergence.model.policy import Policy


@final
class WeightsCopy:
    """Some parameters of a policy as they are at this moment."""

    def __init__(self, policy: Policy, names: Iterable[str]) -> None:
        parameters = dict(policy.model.named_parameters())
        self._parameters = {name: parameters[name] for name in names}
        self._values = {name: one.detach().clone() for name, one in self._parameters.items()}

    @classmethod
    def of_trained(cls, policy: Policy, training: Mapping[Role, Training]) -> "WeightsCopy":
        """Of everything that a stage with these settings trains."""
        return cls(policy, [name for found in trained_parameters(policy, training).values() for name in found])

    @property
    def values(self) -> Mapping[str, torch.Tensor]:
        """Name to the copy; what is written into a copy in place is what `in_place` computes with."""
        return self._values

    @property
    def current(self) -> Mapping[str, torch.Tensor]:
        """Name to the policy's own weight."""
        return self._parameters

    @property
    def num_parameters(self) -> int:
        """How many numbers are held beside the policy."""
        return sum(one.numel() for one in self._values.values())

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within this block the policy computes with the copy; no gradient may be taken through it.

        Only addresses are exchanged, so nothing is copied.
        """
        self._exchange()
        try:
            with torch.no_grad():
                yield
        finally:
            self._exchange()

    def _exchange(self) -> None:
        for name, parameter in self._parameters.items():
            now = parameter.data
            parameter.data = self._values[name]
            self._values[name] = now
        # whoever remembers what these weights computed must see it, and no older graph may go backward through them
        torch.autograd.graph.increment_version(list(self._parameters.values()))
