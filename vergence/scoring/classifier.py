"""Any Hugging Face sequence classifier with one label as a reward model (Skywork-Reward and its like).

Question and response go through the model's own chat template as a conversation of two turns; the logit is the score.
Which token the logit is read from is the model's business, and so is its padding id, which is therefore never changed:
a classifier that has none is run one response at a time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import torch

from vergence.data.images import load_image
from vergence.errors import DataError, ModelError
from vergence.model.batch import MICROBATCH_TOKENS
from vergence.model.policy import compute_dtype
from vergence.model.pretrained import model_from, processor_from, read_config, reason_of, tokenizer_from
from vergence.pairs.comparisons import Member
from vergence.types import Doubles, Prompt, response

Inputs = dict[str, torch.Tensor]


@final
@dataclass(frozen=True, slots=True, eq=False)
class Classifier:
    """A sequence classifier as a `RawScorer`."""

    model: Any
    tokenizer: Any
    processor: Any | None
    """What reads pictures; None where the model has no eyes."""
    microbatch_tokens: int = MICROBATCH_TOKENS
    """Tokens of one forward pass, padding included."""

    @torch.no_grad()
    def raw(self, members: Sequence[Member]) -> Doubles:
        """Members [N] -> logits [N]; members of similar length are run together.

        Raises DataError where a conversation is longer than the model can read.
        """
        texts = [self.conversation(prompt, response(prompt, completion)) for prompt, completion in members]
        ids = [self._token_ids(text) for text in texts]
        self._check_lengths(ids, members)
        scores = np.zeros(len(members))
        for rows in by_length([len(row) for row in ids], self.microbatch_tokens, alone=self._pad_id is None):
            shown = [row for row in rows if self.processor is not None and members[row][0].problem.images]
            told = [row for row in rows if row not in shown]
            if told:
                scores[told] = self._logits(self._padded([ids[row] for row in told]))
            for row in shown:
                scores[[row]] = self._logits(self._seen_inputs(texts[row], members[row][0]))
        return scores

    def conversation(self, prompt: Prompt, response: str) -> str:
        """Question and response as the model's chat template writes them."""
        problem = prompt.problem
        content: Any = problem.question
        if self.processor is not None and problem.images:
            content = [{"type": "image"} for _ in problem.images] + [{"type": "text", "text": problem.question}]
        turns = [{"role": "user", "content": content}, {"role": "assistant", "content": response}]
        if self.processor is not None:
            turns[1]["content"] = [{"type": "text", "text": response}]
            turns[0]["content"] = content if isinstance(content, list) else [{"type": "text", "text": content}]
        template = self.processor if self.processor is not None else self.tokenizer
        text: str = template.apply_chat_template(turns, tokenize=False, add_generation_prompt=False)
        return text

    @property
    def _pad_id(self) -> int | None:
        found: int | None = self.model.config.get_text_config().pad_token_id
        return found

    def _token_ids(self, text: str) -> list[int]:
        begin = self.tokenizer.bos_token
        special = begin is not None and not text.startswith(begin)
        ids: list[int] = self.tokenizer(text, add_special_tokens=special)["input_ids"]
        return ids

    def _padded(self, rows: Sequence[list[int]]) -> Inputs:
        """Padded on the right, so that positions are those of a row by itself."""
        width = max(map(len, rows))
        pad = self._pad_id or 0
        return {
            "input_ids": torch.tensor([row + [pad] * (width - len(row)) for row in rows]),
            "attention_mask": torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows]),
        }

    def _seen_inputs(self, text: str, prompt: Prompt) -> Inputs:
        """One conversation with its pictures, through the processor; alone, because pictures differ in size."""
        assert self.processor is not None
        pictures = [load_image(image) for image in prompt.problem.images]
        begin = self.tokenizer.bos_token
        special = begin is not None and not text.startswith(begin)
        keywords = {"images": pictures} if pictures else {}
        return dict(self.processor(text=[text], return_tensors="pt", add_special_tokens=special, **keywords))

    def _logits(self, inputs: Inputs) -> Doubles:
        device = self.model.device
        with torch.autocast(device.type, compute_dtype(device), enabled=compute_dtype(device) != torch.float32):
            logits = self.model(**{name: value.to(device) for name, value in inputs.items()}, use_cache=False).logits
        found: Doubles = logits[:, 0].double().cpu().numpy()
        return found

    def _check_lengths(self, ids: Sequence[list[int]], members: Sequence[Member]) -> None:
        limit = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        longest = max(range(len(ids)), key=lambda row: len(ids[row]), default=None)
        if limit is not None and longest is not None and len(ids[longest]) > limit:
            raise DataError(
                f"problem {members[longest][0].problem.id}: question and response are {len(ids[longest])} tokens for "
                f"the reward model, which reads {limit}; lower max_new_tokens, or take another reward model"
            )


def by_length(lengths: Sequence[int], max_tokens: int, *, alone: bool) -> list[list[int]]:
    """Rows in batches of about equal length, each of at most `max_tokens` with padding; one row may be longer."""
    batches: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lambda row: (lengths[row], row)):
        if batches and not alone and lengths[row] * (len(batches[-1]) + 1) <= max_tokens:
            batches[-1].append(row)  # sorted, so this row is the longest and says how wide the batch is
        else:
            batches.append([row])
    return batches


def load_classifier(
    directory: Path, device: torch.device, *, microbatch_tokens: int = MICROBATCH_TOKENS
) -> tuple[Classifier, tuple[str, ...]]:
    """Read a classifier, and what should be said about it.

    Raises ModelError if the directory holds no sequence classifier with one label and a chat template.
    """
    from transformers import AutoModelForSequenceClassification

    config = read_config(directory)
    names = getattr(config, "architectures", None) or ()
    if not any(name.endswith("ForSequenceClassification") for name in names):
        raise ModelError(
            f"{directory}: its config names {', '.join(names) or 'no class'}; expected a class for sequence "
            "classification, because any other would be given a random head"
        )
    if config.num_labels != 1:
        raise ModelError(f"{directory}: a classifier with {config.num_labels} labels; a reward model has one")
    model = _loaded(directory, lambda: model_from(AutoModelForSequenceClassification, directory, dtype=torch.float32))
    tokenizer = _loaded(directory, lambda: tokenizer_from(directory))
    processor, notes = eyes_of(directory)
    if (processor or tokenizer).chat_template is None:
        raise ModelError(f"{directory}: its tokenizer has no chat template; add a chat_template.jinja to the directory")
    if model.config.get_text_config().pad_token_id is None:
        notes += (f"{directory}: its config has no padding token, so responses are scored one at a time",)
    model.to(device).eval().requires_grad_(False)
    return Classifier(model, tokenizer, processor, microbatch_tokens), notes


def eyes_of(directory: Path) -> tuple[Any | None, tuple[str, ...]]:
    """The processor, if it reads pictures; else the note that the reward model is blind."""
    try:
        processor: Any = processor_from(directory)
    except (OSError, ValueError, ImportError, KeyError) as error:
        reason = reason_of(error)[:120]
        return None, (f"{directory}: scores text alone, pictures are ignored (no processor: {reason})",)
    if getattr(processor, "image_processor", None) is None:
        return None, (f"{directory}: scores text alone, pictures are ignored",)
    return processor, ()


def _loaded(directory: Path, load: Callable[[], Any]) -> Any:
    try:
        return load()
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ModelError(f"{directory}: not a loadable sequence classifier ({reason_of(error)})") from error
