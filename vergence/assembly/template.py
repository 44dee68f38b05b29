"""A chat template that learns to write pictures, and writes every other conversation as before.

The template itself is not touched. Lines in front of it change what it is given: in a message whose content is a list
of parts, a picture becomes the text that stands for it. A message that is text goes on as the very object that it was,
with all that it carries (tool calls, reasoning, names).
"""

from pathlib import Path
from typing import Any

from vergence.errors import ModelError

_HEAD = (
    "{%- set seen = namespace(messages=[]) -%}"
    "{%- for message in messages -%}"
    "{%- if message.content is defined and message.content is not none and message.content is sequence"
    " and message.content is not string and message.content is not mapping -%}"
    "{%- set seen.content = EMPTY -%}"
    "{%- for part in message.content -%}"
    "{%- if part is string -%}{%- set text = part -%}"
    "{%- elif part.type in ['image', 'image_url'] -%}{%- set text = 'IMAGE_TOKEN\\n' -%}"
    "{%- elif part.text is defined -%}{%- set text = part.text -%}"
    "{%- else -%}{{- raise_exception('a message holds text and images, and this one ' ~ part.type) -}}{%- endif -%}"
    "{%- set seen.content = seen.content + PIECE -%}"
    "{%- endfor -%}"
    "{%- set seen.messages = seen.messages + [dict(message, content=seen.content)] -%}"
    "{%- else -%}{%- set seen.messages = seen.messages + [message] -%}{%- endif -%}"
    "{%- endfor -%}"
    "{%- set messages = seen.messages %}"
)
_AS_TEXT = _HEAD.replace("EMPTY", "''").replace("PIECE", "text")
"""For a template that prints a message's content: the list becomes one text."""
_AS_PARTS = _HEAD.replace("EMPTY", "[]").replace("PIECE", "[{'type': 'text', 'text': text}]")
"""For a template that goes through a list itself, and would write another model's token for a picture."""
_PLAIN = "{% for message in messages %}{{ message.content }}{% endfor %}"
"""For a tokenizer without a chat template: what was said, one message behind the other."""


def extended_template(tokenizer: Any, image_token: str, directory: Path) -> tuple[str, str]:
    """The tokenizer's chat template, made to write one `image_token` for each picture, and what was done, in words.

    Raises ModelError if the result does not write a picture once, or a text as before.
    """
    old = tokenizer.chat_template
    if isinstance(old, dict):
        raise ModelError(
            f"{directory}: the tokenizer has several chat templates ({', '.join(old)}); keep the one to be used, "
            "as chat_template.jinja"
        )
    if old is not None and template_fault(tokenizer, old, image_token) is None:
        return old, "writes pictures already"
    body = old if old is not None else _PLAIN
    faults = []
    for head in (_AS_TEXT, _AS_PARTS):
        # behind a tag, the renderer drops one line break; a template that begins with one keeps its own this way
        new = head.replace("IMAGE_TOKEN", image_token) + ("\n" if body[:1].isspace() else "") + body
        faults.append(template_fault(tokenizer, new, image_token) or _changed(tokenizer, body, new))
        if faults[-1] is None:
            told = "none was there: messages are written one behind the other"
            return new, told if old is None else "extended by pictures; text is written as before"
    raise ModelError(
        f"{directory}: its chat template cannot be made to write pictures ({faults[0]}); put one beside it, as "
        f"chat_template.jinja, that writes {image_token} for each"
    )


def template_fault(tokenizer: Any, template: str, image_token: str) -> str | None:
    """What a template does wrong with two pictures and a text; None if nothing."""
    parts = [{"type": "image"}, {"type": "text", "text": "in between"}, {"type": "image"}]
    try:
        found = _rendered(tokenizer, template, parts)
    except Exception as error:  # whatever a template does
        return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    if found.count(image_token) != 2 or "in between" not in found:
        return f"two pictures and a text became {found[-200:]!r}"
    return None


def _changed(tokenizer: Any, old: str, new: str) -> str | None:
    """Whether a text is written otherwise than before, or not at all by either."""
    try:
        before = _rendered(tokenizer, old, "a question")
    except Exception:  # it wants a list, and gets one
        return None
    after = _rendered(tokenizer, new, "a question")
    return None if before == after else f"a text that was {before[-200:]!r} became {after[-200:]!r}"


def _rendered(tokenizer: Any, template: str, content: Any) -> str:
    text: str = tokenizer.apply_chat_template(
        [{"role": "user", "content": content}], chat_template=template, tokenize=False, add_generation_prompt=True
    )
    return text
