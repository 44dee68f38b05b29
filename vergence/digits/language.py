"""The language parent: a small Qwen3 trained from nothing on the text-only twin of the task.

The twin has four digit tokens where a scene has four image tokens, so the model learns to reason without ever seeing a
picture. Its corpus is of uneven quality on purpose: that is what leaves room for reinforcement.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor
from torch.nn import functional
from transformers import GenerationConfig, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from vergence.digits.questions import CAPTION, QUESTIONS, corpus_response
from vergence.run.stage_run import StageRun
from vergence.seeds import generator
from vergence.update.learner import Learner, LossPart, ParameterGroup
from vergence.update.schedule import cosine, span_of


@dataclass(frozen=True, slots=True)
class LanguageSettings:
    """How the language model is trained."""

    texts: int = 28800
    steps: int = 900
    batch_size: int = 64
    learning_rate: float = 3e-3
    weight_decay: float = 0.05


ROW = 128
"""Tokens in a packed row. Texts are 11 to 38 tokens long; packing halves the work against padding."""


@dataclass(frozen=True, slots=True, eq=False)
class Packed:
    """Several texts side by side in each of R rows."""

    token_ids: Int[Tensor, "R L"]
    positions: Int[Tensor, "R L"]
    """Within each text."""
    attends: Bool[Tensor, "R 1 L L"]
    """Causal, and within each text only."""
    taught: Bool[Tensor, "R L"]
    """True where the token belongs to a response."""


def language_config(tokenizer: PreTrainedTokenizerFast) -> Qwen3Config:
    """96 wide, 3 layers, 3 heads of 32 with one key-value head: 0.33 M parameters."""
    return Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=96,
        intermediate_size=288,
        num_hidden_layers=3,
        num_attention_heads=3,
        num_key_value_heads=1,
        head_dim=32,
        max_position_embeddings=128,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def twin_texts(tokenizer: PreTrainedTokenizerFast, count: int, seed: int) -> list[tuple[list[int], int]]:
    """`count` texts of the corpus as token ids, each with the length of its prompt. One in ten asks to read."""
    rng = generator(seed, "corpus")
    texts = []
    for _ in range(count):
        digits = rng.integers(0, 10, 4).tolist()
        question = CAPTION if rng.random() < 0.1 else QUESTIONS[int(rng.integers(len(QUESTIONS)))]
        prompt = f"<bos><img>{''.join(map(str, digits))}</img>{question}?"
        response = corpus_response(question, digits, rng) + "<eos>"
        prompt_ids, response_ids = tokenizer([prompt, response], add_special_tokens=False)["input_ids"]
        texts.append((prompt_ids + response_ids, len(prompt_ids)))
    return texts


def pack(texts: Sequence[tuple[list[int], int]]) -> Packed:
    """Fill rows of `ROW` tokens, longest text first, each into the first row that has room."""
    rows: list[list[tuple[list[int], int]]] = []
    used: list[int] = []
    for ids, prompt in sorted(texts, key=lambda text: -len(text[0])):
        place = next((row for row, length in enumerate(used) if length + len(ids) <= ROW), len(rows))
        if place == len(rows):
            rows.append([])
            used.append(0)
        rows[place].append((ids, prompt))
        used[place] += len(ids)
    shape = (len(rows), max(used))
    token_ids, positions = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    text_of, taught = np.full(shape, -1, np.int64), np.zeros(shape, bool)
    for row, members in enumerate(rows):
        start = 0
        for number, (ids, prompt) in enumerate(members):
            end = start + len(ids)
            token_ids[row, start:end] = ids
            positions[row, start:end] = np.arange(len(ids))
            text_of[row, start:end] = number
            taught[row, start + prompt : end] = True
            start = end
    same = text_of[:, :, None] == text_of[:, None, :]
    attends = same & np.tril(np.ones((shape[1], shape[1]), bool))
    return Packed(*map(torch.from_numpy, (token_ids, positions, attends[:, None], taught)))


def train_language(
    run: StageRun, settings: LanguageSettings, tokenizer: PreTrainedTokenizerFast, device: torch.device
) -> Qwen3ForCausalLM:
    """Train the language model on the responses of the corpus."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.seed("init"))
        model: Any = Qwen3ForCausalLM(language_config(tokenizer))
    model.to(device)
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    learner = Learner(
        [ParameterGroup("language", dict(model.named_parameters()), settings.learning_rate, settings.weight_decay)],
        betas=(0.9, 0.98),
        clip_norm=1.0,
        schedule=cosine(warmup=0.1, floor=0.0),
    )
    texts = twin_texts(tokenizer, settings.texts, run.seed("corpus"))
    for step in run.steps(settings.steps, {"learner": learner}):
        rows = generator(run.seed(step, "batch")).integers(0, len(texts), settings.batch_size)
        loss = _parts(model, pack([texts[row] for row in rows]), device)
        run.log(learner.update(loss, span_of(step, settings.steps)))
    trained: Qwen3ForCausalLM = model.eval()
    return trained


def _parts(model: Any, packed: Packed, device: torch.device) -> Iterable:
    def part() -> LossPart:
        hidden = model.model(
            input_ids=packed.token_ids.to(device),
            attention_mask=packed.attends.to(device),
            position_ids=packed.positions.to(device),
            use_cache=False,
        ).last_hidden_state
        taught = packed.taught[:, 1:].to(device)
        logits = model.lm_head(hidden[:, :-1][taught])  # the head only where a token is predicted
        targets = packed.token_ids[:, 1:].to(device)[taught]
        right = (logits.detach().argmax(-1) == targets).float().mean()
        return LossPart(functional.cross_entropy(logits, targets), {"accuracy": right})

    return [part]
