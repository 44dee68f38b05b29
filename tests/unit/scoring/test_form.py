"""Requests and answers of the scoring form: what one side writes the other reads, and the rest is refused by name."""

import base64
import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vergence.data.images import reference
from vergence.errors import DataError, IntegrityError
from vergence.scoring.form import Asked, answer_body, answered, check_seen, data_uri, parse_request, request_body
from vergence.types import Finish, ImageRef

from ..builders import completion, prompt

PIXEL = "data:image/png;base64," + base64.b64encode(b"not looked at here").decode()


@pytest.fixture
def pictures(tmp_path):
    paths = [tmp_path / "a.png", tmp_path / "b.jpg"]
    for shade, path in enumerate(paths):
        Image.new("RGB", (3, 2), (shade * 90, 0, 0)).save(path)
    return tuple(reference(path, "a test") for path in paths)


def test_a_request_brings_a_question_with_its_pictures_once_and_every_response(pictures) -> None:
    where = prompt(question="how many?", images=pictures)
    responses = [completion("three"), completion("fo", finish=Finish.LENGTH)]
    body = json.loads(json.dumps(request_body("m", where, responses)))
    assert 2 == json.dumps(body).count("data:image/")
    assert "data:image/png;base64," in json.dumps(body)
    assert "data:image/jpeg;base64," in json.dumps(body)
    asked = parse_request(body)
    files = tuple(Path(image.path).read_bytes() for image in pictures)
    assert [
        Asked("how many?", files, "three", Finish.STOP),
        Asked("how many?", files, "fo", Finish.LENGTH),
    ] == asked
    assert body["use_activation"] is False


def test_a_server_is_sent_what_the_policy_is_shown(tmp_path: Path) -> None:
    """Transparent pixels on white, and the digests that the server reads back are those of what was sent."""
    Image.new("RGBA", (3, 2), (0, 0, 0, 0)).save(tmp_path / "a.tif")
    where = prompt(question="how many?", images=(reference(tmp_path / "a.tif", "a test"),))
    (asked,) = parse_request(request_body("m", where, [completion("none")]))
    with Image.open(io.BytesIO(asked.images[0])) as sent:
        assert sent.format == "PNG"
        assert [(255, 255, 255)] == [colour for _, colour in sent.getcolors()]
    check_seen(answer_body("m", [0.0], [asked], name="", created=0), where)
    with pytest.raises(IntegrityError, match="dropped, swapped or changed"):
        check_seen({"pictures": [[where.problem.images[0].sha256]]}, where)


def test_a_question_without_pictures_is_a_plain_string_and_no_key_of_ours_is_sent_without_need() -> None:
    body = request_body("m", prompt(question="why?", images=()), [completion("because")])
    assert {"model": "m", "queries": "why?", "documents": ["because"], "use_activation": False} == body


@pytest.mark.parametrize("names", [("queries", "documents"), ("text_1", "text_2")])
def test_both_pairs_of_names_are_read_and_a_single_string_is_one_document(names) -> None:
    assert [Asked("q", (), "d", Finish.STOP)] == parse_request({names[0]: "q", names[1]: "d"})
    asked = parse_request({names[0]: ["q", "r"], names[1]: ["d", "e"]})
    assert [("q", "d"), ("r", "e")] == [(one.question, one.response) for one in asked]


def test_text_parts_are_joined_and_a_document_may_be_parts_too() -> None:
    query = {"content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]}
    document = {"content": [{"type": "text", "text": "d"}]}
    assert [Asked("one\ntwo", (), "d", Finish.STOP)] == parse_request({"queries": query, "documents": [document]})


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ([], "expected a JSON object, found list"),
        ({}, 'the key "queries" is missing'),
        ({"queries": "q"}, 'the key "documents" is missing; a request has "queries" and "documents"'),
        ({"text_2": "d"}, 'the key "text_1" is missing'),
        ({"queries": "q", "documents": []}, "must not be empty"),
        ({"queries": ["q", "r"], "documents": ["a", "b", "c"]}, '2 "queries" for 3 "documents"; one for all'),
        ({"queries": 7, "documents": "d"}, '"queries" must hold strings, or objects with a list "content"; found 7'),
        ({"queries": {"content": [{"type": "audio"}]}, "documents": "d"}, "a content part of type text or image_url"),
        (
            {
                "queries": {"content": [{"type": "image_url", "image_url": {"url": "https://x/y.png"}}]},
                "documents": "d",
            },
            "must be data URIs .* nothing is fetched",
        ),
        (
            {
                "queries": {"content": [{"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}]},
                "documents": "d",
            },
            "must be data URIs",
        ),
        (
            {
                "queries": {"content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,!!"}}]},
                "documents": "d",
            },
            "a picture is not valid base64",
        ),
        (
            {"queries": "q", "documents": {"content": [{"type": "image_url", "image_url": {"url": PIXEL}}]}},
            'a picture among "documents"; pictures belong to the question',
        ),
        ({"queries": "q", "documents": "d", "finish_reasons": ["eof"]}, '"finish_reasons" must be'),
        ({"queries": "q", "documents": "d", "finish_reasons": ["stop", "stop"]}, "each of the 1 documents"),
    ],
)
def test_what_is_not_of_the_form_is_refused_in_one_line(body, complaint) -> None:
    with pytest.raises(DataError, match=complaint) as caught:
        parse_request(body)
    assert 1 == len(str(caught.value).splitlines())


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=8), st.randoms())
def test_scores_come_back_exactly_in_whatever_order_they_are_sent(scores, random) -> None:
    body = json.loads(json.dumps(answer_body("m", scores, [], name="n", created=0)))
    random.shuffle(body["data"])
    assert scores == answered(body, len(scores))


def test_an_answer_has_the_fields_that_clients_of_the_form_look_for() -> None:
    body = answer_body("m", [0.25], [Asked("q", (b"a",), "r", Finish.STOP)], name="score-1", created=7)
    assert {"index": 0, "object": "score", "score": 0.25} == body["data"][0]
    assert ("list", "m", "score-1", 7) == (body["object"], body["model"], body["id"], body["created"])
    assert {"prompt_tokens", "total_tokens", "completion_tokens"} == body["usage"].keys()


def test_a_score_wrapped_in_a_list_is_read() -> None:
    assert [1.5] == answered({"data": [{"index": 0, "score": [1.5]}]}, 1)


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        {"data": [{"index": 0, "score": "high"}]},
        {"data": [{"index": 0, "score": True}]},
        {"data": [{"index": 0, "score": float("nan")}]},
        {"data": [{"index": 0, "score": 1.0}, {"index": 0, "score": 2.0}]},
        {"data": [{"index": 1, "score": 1.0}]},
        {"data": []},
        {"data": ["1.0"]},
        {"data": [{"index": None, "score": 1.0}]},
    ],
)
def test_an_answer_that_is_not_of_the_form_is_refused(body) -> None:
    with pytest.raises(ValueError, match="expected"):
        answered(body, 1)


def test_a_picture_that_is_gone_is_named(tmp_path) -> None:
    with pytest.raises(DataError, match=r"gone\.png: no such file"):
        data_uri(ImageRef(str(tmp_path / "gone.png"), ""))
