"""The digits tokenizer: one id per symbol, and text that comes back as it was."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from vergence.digits.questions import CAPTION, QUESTIONS, corpus_response
from vergence.digits.tokens import SPECIAL, WORDS, build_tokenizer

TOKENIZER = build_tokenizer()


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerFast:
    return TOKENIZER


def ids_of(text: str) -> list[int]:
    return TOKENIZER(text, add_special_tokens=False)["input_ids"]


def test_every_symbol_has_one_id_of_its_own(tokenizer: PreTrainedTokenizerFast) -> None:
    assert 34 == len(tokenizer) == len(SPECIAL) + len(WORDS)
    assert [[index] for index in range(34)] == [ids_of(symbol) for symbol in (*SPECIAL, *WORDS)]


@given(st.sampled_from([*QUESTIONS, CAPTION]), st.lists(st.integers(0, 9), min_size=4, max_size=4), st.integers(0, 999))
def test_prompts_and_responses_come_back_as_they_were(question: str, digits: list[int], seed: int) -> None:
    response = corpus_response(question, digits, np.random.default_rng(seed))
    text = f"<bos><img>{''.join(map(str, digits))}</img>{question}?{response}<eos>"
    assert text == TOKENIZER.decode(ids_of(text))


def test_numbers_are_read_digit_by_digit() -> None:
    assert [*ids_of("1"), *ids_of("1"), *ids_of("+"), *ids_of("4")] == ids_of("11+4")


def test_question_words_are_whole_and_unknown_ones_are_unknown(tokenizer: PreTrainedTokenizerFast) -> None:
    assert 1 == len(ids_of("range"))
    unknown = tokenizer.convert_tokens_to_ids("<unk>")
    assert [unknown] == ids_of("ranges") == ids_of("median") == ids_of("é")
    assert [unknown, *ids_of("?")] == ids_of("dog?")


def test_white_space_says_nothing() -> None:
    assert ids_of("<think>5+6</think>sum?") == ids_of(" <think> 5 +\n6 </think>\tsum ? ")


def test_special_tokens_are_known_as_such(tokenizer: PreTrainedTokenizerFast) -> None:
    found = (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token, tokenizer.unk_token)
    assert ("<bos>", "<eos>", "<pad>", "<unk>") == found
    assert "sum?" == tokenizer.decode(ids_of("<bos>sum?<eos><pad>"), skip_special_tokens=True)
    # what a thought is made of must survive decoding without special tokens
    assert "<think>5</think>" == tokenizer.decode(ids_of("<think>5</think>"), skip_special_tokens=True)


def test_chat_template_puts_the_picture_where_it_was(tokenizer: PreTrainedTokenizerFast) -> None:
    message = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "sum?"}]}
    text = tokenizer.apply_chat_template([message], tokenize=False)
    assert "<bos><IMG_CONTEXT>sum?" == text
    plain = tokenizer.apply_chat_template([{"role": "user", "content": "sum?"}], tokenize=False)
    assert "<bos>sum?" == plain
