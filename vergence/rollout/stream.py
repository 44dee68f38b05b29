"""One completion of one prompt, token by token, for a person who watches."""

from collections.abc import Iterator

import torch

from vergence.model.batch import collate_prompts
from vergence.model.forward import continue_from, distribution, run_prompts
from vergence.model.policy import Policy
from vergence.model.vision import Tower
from vergence.rollout.decode import choose
from vergence.seeds import generator
from vergence.types import Prompt


def stream_tokens(
    policy: Policy, prompt: Prompt, tower: Tower, *, max_new_tokens: int, temperature: float, seed: int
) -> Iterator[str]:
    """The text so far, after each token, until the end token or the limit. Tokens equal those of a group of one."""
    ids, mask = collate_prompts([prompt], policy.device)
    noise = torch.from_numpy(generator(seed, prompt.problem.id, 0).random((1, max_new_tokens))).to(policy.device)
    with torch.no_grad():
        prefix = run_prompts(policy, ids, mask, prompt.problem.images, tower)
        hidden, cache, written = prefix.last, prefix.cache, []
        for step in range(max_new_tokens):
            chosen = choose(distribution(policy, hidden, temperature), noise[:, step : step + 1], temperature)
            if int(chosen) in policy.end_token_ids:
                return
            written.append(int(chosen))
            yield policy.tokenizer.decode(written, skip_special_tokens=True)
            position = torch.tensor([[ids.shape[1] + step]], device=policy.device)
            embedded = policy.model.get_input_embeddings()(chosen[:, None])
            hidden = continue_from(policy, cache, embedded, position, None)[:, -1]
