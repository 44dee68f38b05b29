"""A Hugging Face sequence classifier scores through us as it does by itself, one conversation at a time."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from families import SPECIAL, SYMBOLS, picture_problems, tiny_tokenizer
from transformers import Qwen2Config, Qwen2ForSequenceClassification

from vergence.data.images import load_image
from vergence.errors import DataError, ModelError
from vergence.scoring.classifier import by_length, load_classifier
from vergence.scoring.load import scorer_for, source_of
from vergence.scoring.plain import plain_completion, plain_prompt
from vergence.types import RolloutGroup

from ..builders import problem
from .gemma import tiny_seeing_classifier

CPU = torch.device("cpu")
TEMPLATE = (
    "<bos>{% for message in messages %}{{ message.role[0] }}:{% if message.content is string %}{{ message.content }}"
    "{% else %}{% for part in message.content %}{% if part.type == 'image' %}<image>{% else %}{{ part.text }}"
    "{% endif %}{% endfor %}{% endif %}<eos>{% endfor %}"
)


def tiny_classifier(
    folder: Path, *, pad: str | None = "<pad>", labels: int = 1, template: str | None = TEMPLATE
) -> Path:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = Qwen2Config(
            vocab_size=len(SPECIAL) + len(SYMBOLS),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=128,
            num_labels=labels,
            pad_token_id=None if pad is None else SPECIAL.index(pad),
        )
        model = Qwen2ForSequenceClassification(config)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(4.0)  # so that scores differ by more than rounding
    tokenizer = tiny_tokenizer("llava")
    tokenizer.chat_template = template
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def members(count: int = 7):
    return [
        (
            plain_prompt(problem(f"p{index}", question=f"what is {index}?", images=())),
            plain_completion("x" * (1 + 3 * index)),
        )
        for index in range(count)
    ]


def one_by_one(folder: Path, asked) -> np.ndarray:
    """Transformers' own forward, no padding anywhere."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    scores = []
    for prompt, completion in asked:
        turns = [
            {"role": "user", "content": prompt.problem.question},
            {"role": "assistant", "content": completion.text},
        ]
        ids = tokenizer.apply_chat_template(turns, return_tensors="pt", return_dict=True)["input_ids"]
        with torch.no_grad():
            scores.append(model(input_ids=ids).logits[0, 0].item())
    return np.array(scores)


@pytest.mark.parametrize("pad", ["<pad>", "<eos>", None])
@pytest.mark.parametrize("limit", [40, 100, 16384])
def test_scores_are_those_of_transformers_whatever_the_batches_and_the_padding_token(tmp_path, pad, limit: int) -> None:
    folder = tiny_classifier(tmp_path / "rm", pad=pad)
    classifier, notes = load_classifier(folder, CPU, microbatch_tokens=limit)
    expected = one_by_one(folder, members())
    assert np.ptp(expected) > 0.5
    np.testing.assert_allclose(classifier.raw(members()), expected, atol=2e-5)
    assert ("one at a time" in " ".join(notes)) == (pad is None)


def test_it_becomes_the_scorer_of_a_run_and_says_that_it_is_blind(tmp_path) -> None:
    folder = tiny_classifier(tmp_path / "rm")
    scorer = scorer_for(folder, CPU)
    where = plain_prompt(problem(images=()))
    group = RolloutGroup(where, tuple(plain_completion(text) for text in ("a", "bb", "a")))
    (scores,) = scorer.scores([group])
    np.testing.assert_allclose(scores, one_by_one(folder, [(where, one) for one in group.completions]), atol=2e-5)
    assert scores[0] == scores[2]
    assert [f"{folder}: scores text alone, pictures are ignored"] == [note.split(" (")[0] for note in scorer.notes]
    assert "classifier" == source_of(folder).kind


def test_pictures_change_nothing_for_a_blind_one(tmp_path) -> None:
    classifier, _ = load_classifier(tiny_classifier(tmp_path / "rm"), CPU)
    (shown,) = picture_problems(tmp_path / "pictures", 1)
    with_picture = classifier.raw([(plain_prompt(shown), plain_completion("yes"))])
    without = problem("other", question=shown.question, images=())
    assert with_picture == classifier.raw([(plain_prompt(without), plain_completion("yes"))])


def test_one_with_eyes_scores_what_it_sees_as_transformers_does(tmp_path) -> None:
    from transformers import AutoModelForSequenceClassification, AutoProcessor

    folder = tiny_seeing_classifier(tmp_path / "rm")
    classifier, notes = load_classifier(folder, CPU)
    assert () == notes
    problems = picture_problems(tmp_path / "pictures", 5)
    asked = [(plain_prompt(one), plain_completion("yes" * (index + 1))) for index, one in enumerate(problems)]
    model, processor = AutoModelForSequenceClassification.from_pretrained(folder), AutoProcessor.from_pretrained(folder)
    expected = []
    for prompt, completion in asked:
        pictures = [load_image(image) for image in prompt.problem.images]
        parts = [
            *({"type": "image", "image": one} for one in pictures),
            {"type": "text", "text": prompt.problem.question},
        ]
        turns = [
            {"role": "user", "content": parts},
            {"role": "assistant", "content": [{"type": "text", "text": completion.text}]},
        ]
        inputs = processor.apply_chat_template(turns, tokenize=True, return_dict=True, return_tensors="pt")
        with torch.no_grad():
            expected.append(model.eval()(**inputs).logits[0, 0].item())
    assert [1, 1, 1, 2, 0] == [len(one.images) for one in problems], "one, two and no pictures"
    np.testing.assert_allclose(classifier.raw(asked), expected, atol=2e-5)
    first, second = problems[:2]
    swapped = plain_prompt(replace(first, images=second.images))
    one, other = classifier.raw([(plain_prompt(first), plain_completion("yes")), (swapped, plain_completion("yes"))])
    assert abs(one - other) > 1e-4


def test_a_conversation_that_is_too_long_is_named(tmp_path) -> None:
    classifier, _ = load_classifier(tiny_classifier(tmp_path / "rm"), CPU)
    long = (plain_prompt(problem("p-long", images=())), plain_completion("x" * 200))
    with pytest.raises(DataError, match=r"problem p-long: question and response are \d+ tokens .* which reads 128"):
        classifier.raw([*members(), long])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"labels": 3}, "a classifier with 3 labels; a reward model has one"),
        ({"template": None}, "its tokenizer has no chat template"),
    ],
)
def test_what_is_no_reward_model_is_refused(tmp_path, changes, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        load_classifier(tiny_classifier(tmp_path / "rm", **changes), CPU)


def test_a_language_model_is_refused_because_its_head_would_be_random(tmp_path) -> None:
    folder = tiny_classifier(tmp_path / "rm")
    config = (folder / "config.json").read_text().replace("Qwen2ForSequenceClassification", "Qwen2ForCausalLM")
    (folder / "config.json").write_text(config)
    with pytest.raises(ModelError, match="Qwen2ForCausalLM; expected a class for sequence classification"):
        load_classifier(folder, CPU)
    with pytest.raises(ModelError, match=r"no reward model; expected reward\.json .* found Qwen2ForCausalLM"):
        source_of(folder)


def test_batches_hold_rows_of_like_length_and_no_more_than_the_limit() -> None:
    lengths = [9, 2, 5, 2, 30, 4]
    batches = by_length(lengths, 12, alone=False)
    assert sorted(range(6)) == sorted(row for batch in batches for row in batch)
    assert [[1, 3, 5], [2], [0], [4]] == batches, "2, 2 and 4 tokens are 12 with padding"
    assert [[1], [3], [5], [2], [0], [4]] == by_length(lengths, 12, alone=True)
    assert [] == by_length([], 12, alone=False)
