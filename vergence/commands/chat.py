"""`vergence chat`: one question about one picture, token by token."""

import sys
from pathlib import Path

from vergence.commands.quiet import quieten_libraries
from vergence.data.images import check_whole, reference
from vergence.errors import DataError
from vergence.model.device import choose_device
from vergence.model.policy import encode, load_policy, unknown_words
from vergence.model.vision import CachedTower
from vergence.rollout.stream import stream_tokens
from vergence.terminal import escaped, say
from vergence.types import Problem

_DIM, _PLAIN = "\x1b[2m", "\x1b[0m"


def chat_command(
    model: Path, image: Path, question: str, *, max_new_tokens: int, temperature: float, seed: int, device: str
) -> None:
    """Print the thought dimmed and the answer plain, as they come."""
    quieten_libraries()
    if not question.strip():
        raise DataError("the question is empty; ask something")
    picture = reference(image, "--image")
    check_whole(image, "--image")
    policy = load_policy(model, choose_device(device))
    prompt = encode(policy, Problem("chat", question, (picture,), "", "chat", frozenset(), ""))
    if unknown_words(policy, prompt):
        known = " ".join(sorted(word for word in policy.tokenizer.get_vocab() if word.isalpha()))
        hint = f"; it knows {known}" if len(known) < 200 else ""
        say(f"note: the model's vocabulary lacks a word of this question{hint}", error=True)
    tokens = stream_tokens(
        policy, prompt, CachedTower(policy), max_new_tokens=max_new_tokens, temperature=temperature, seed=seed
    )
    written, colour = "", sys.stdout.isatty()
    for text in tokens:
        said = prompt.prefill + text
        new, written = said[len(written) :], said
        _write(new, written, colour)
    sys.stdout.write(f"{_PLAIN}\n" if colour else "\n")


def _write(new: str, written: str, colour: bool) -> None:
    for tag, shown in (
        ("<think>", "thinking: "),
        ("</think>", "\n"),
        ("<answer>", "answer: "),
        ("</answer>", ""),
    ):
        new = new.replace(tag, shown)
    thinking = written.rfind("<think>") > written.rfind("</think>")
    new = escaped(new)
    sys.stdout.write(f"{_DIM if thinking else _PLAIN}{new}" if colour else new)
    sys.stdout.flush()
