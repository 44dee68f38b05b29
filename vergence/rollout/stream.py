"""One completion of one prompt, token by token, for a person who watches."""

from collections.abc import Iterator

import torch

from vergence.model.policy import Policy
from vergence.model.response import ResponseText
from vergence.model.vision import Tower
from vergence.rollout.choice import chooser
from vergence.rollout.decoder import GroupDecoder, cast_once
from vergence.seeds import generator
from vergence.types import Prompt, Sampling


def stream_tokens(
    policy: Policy, prompt: Prompt, tower: Tower, *, max_new_tokens: int, temperature: float, seed: int
) -> Iterator[str]:
    """The text so far, after each token, until the end token or the limit. Tokens equal those of a group of one.

    Between tokens torch stays without gradients and in the type that the policy computes in.
    """
    sampling = Sampling(num_completions=1, max_new_tokens=max_new_tokens, temperature=temperature)
    choose = chooser(sampling)
    noise = torch.from_numpy(generator(seed, prompt.problem.id, 0).random((1, max_new_tokens))).to(policy.device)
    with torch.no_grad():
        decoder, text_of, written = GroupDecoder(policy, [prompt], tower, sampling), ResponseText(policy), []
        with cast_once(policy):
            for step in range(max_new_tokens):
                chosen, _ = choose(decoder.logits(), noise[:, step])
                if int(chosen) in policy.end_token_ids:
                    return
                written.append(int(chosen))
                yield text_of(written)
                decoder.append(chosen)
