"""The language parent's corpus, and rows packed with several texts that must not see each other."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from vergence.digits.language import ROW, Packed, pack, twin_texts
from vergence.digits.questions import CAPTION
from vergence.digits.tokens import build_tokenizer

Text = tuple[list[int], int]


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return build_tokenizer()


def numbered(sizes: list[tuple[int, int]]) -> list[Text]:
    """Texts of (length, prompt length) whose token ids are all different, from 1 on."""
    texts, first = [], 1
    for length, prompt in sizes:
        texts.append((list(range(first, first + length)), prompt))
        first += length
    return texts


texts = st.lists(
    st.integers(2, 60).flatmap(lambda length: st.tuples(st.just(length), st.integers(1, length - 1))),
    min_size=1,
    max_size=9,
).map(numbered)


def places(packed: Packed) -> dict[int, tuple[int, int]]:
    """Token id to (row, column); padding is 0."""
    found = {}
    for row, ids in enumerate(packed.token_ids.tolist()):
        for column, token in enumerate(ids):
            if token:
                found[token] = (row, column)
    return found


@given(texts)
def test_every_token_is_packed_once_side_by_side_with_its_text(some: list[Text]) -> None:
    packed = pack(some)
    assert sorted(token for ids, _ in some for token in ids) == sorted(
        t for t in packed.token_ids.flatten().tolist() if t
    )
    where = places(packed)
    for ids, _ in some:
        row, start = where[ids[0]]
        assert [(row, start + offset) for offset in range(len(ids))] == [where[token] for token in ids]


@given(texts)
def test_rows_are_no_longer_than_allowed_and_no_wider_than_needed(some: list[Text]) -> None:
    packed = pack(some)
    assert packed.token_ids.shape[1] <= ROW
    assert any(row[-1] for row in packed.token_ids.tolist())


@given(texts)
def test_positions_count_within_each_text_and_only_responses_are_taught(some: list[Text]) -> None:
    packed = pack(some)
    where = places(packed)
    taught = set()
    for ids, prompt in some:
        for offset, token in enumerate(ids):
            assert offset == int(packed.positions[where[token]])
            if offset >= prompt:
                taught.add(where[token])
    found = {(row, column) for row, column in packed.taught.nonzero().tolist()}
    assert taught == found


@given(texts.filter(lambda some: sum(len(ids) for ids, _ in some) <= 160))
def test_a_token_attends_to_its_own_text_up_to_itself_and_to_nothing_else(some: list[Text]) -> None:
    """Every pair of tokens of every row, one by one."""
    packed = pack(some)
    text_of = {token: number for number, (ids, _) in enumerate(some) for token in ids}
    attends = packed.attends.tolist()
    for row, ids in enumerate(packed.token_ids.tolist()):
        for query, token in enumerate(ids):
            for key, other in enumerate(ids):
                if token:
                    allowed = bool(other) and text_of[token] == text_of[other] and key <= query
                    assert allowed == attends[row][0][query][key]
                elif other:
                    assert not attends[row][0][query][key]


def test_texts_share_a_row_where_they_fit() -> None:
    """70 + 50 fill one row to 120; 60 does not fit beside them and takes a second one."""
    packed = pack(numbered([(50, 5), (70, 5), (60, 5)]))
    where = places(packed)
    assert (2, 120) == packed.token_ids.shape
    assert where[51][0] == where[1][0] != where[121][0]


def test_twin_texts_are_prompt_then_response_then_end(tokenizer: PreTrainedTokenizerFast) -> None:
    for ids, prompt in twin_texts(tokenizer, 50, seed=3):
        words = tokenizer.convert_ids_to_tokens(ids)
        assert ["<bos>", "<img>"] == words[:2]
        assert all(word.isdigit() for word in words[2:6])
        assert "</img>" == words[6]
        assert "?" == words[prompt - 1]
        assert "<eos>" == words[-1]
        assert "<unk>" not in words
        assert "<eos>" not in words[:-1]


def test_at_least_three_twin_texts_fit_in_a_row_and_they_depend_on_their_seed(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    some = twin_texts(tokenizer, 300, seed=1)
    assert 300 == len(some)
    assert 3 * max(len(ids) for ids, _ in some) <= ROW
    assert some == twin_texts(tokenizer, 300, seed=1)
    assert some != twin_texts(tokenizer, 300, seed=2)


def test_one_twin_text_in_ten_asks_to_read_and_the_questions_share_the_rest(tokenizer: PreTrainedTokenizerFast) -> None:
    """Of 1,000: 100 and six times 150, within 4 sigma."""
    asked = Counter(tokenizer.decode([ids[prompt - 2]]) for ids, prompt in twin_texts(tokenizer, 1000, seed=5))
    assert 7 == len(asked)
    for word, count in asked.items():
        share = 0.1 if word == CAPTION else 0.15
        assert abs(count - 1000 * share) < 4 * (1000 * share * (1 - share)) ** 0.5
