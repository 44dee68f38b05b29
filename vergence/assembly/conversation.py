"""The chat template of a model in its authors' layout, and the tokens that end a turn.

The authors' code writes prompts by a conversation that the config's key `template` names. The ones that are known here:

    <|im_start|>system\\n SYSTEM <|im_end|> <|im_start|>user\\n <image>\\n QUESTION <|im_end|> <|im_start|>assistant\\n

`internvl2_5` (InternVL 2.5, 3 and 3.5) has a line break behind each `<|im_end|>`; `internlm2-chat` and `Hermes-2`
(InternVL 2) have none, and another system message. Skywork's models are asked by the chat template of their tokenizer,
as Skywork's own example does, and so is any model whose `template` is not known.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vergence.assembly.template import extended_template, template_fault
from vergence.errors import ModelError

_NAMED = "你是书生·万象，英文名是InternVL，是由上海人工智能实验室、清华大学及多家合作单位联合开发的多模态大语言模型。"  # noqa: RUF001
_EARLIER = (
    "你是由上海人工智能实验室联合商汤科技开发的书生多模态大模型，英文名叫InternVL, 是一个有用无害的人工智能助手。"  # noqa: RUF001
)
END = "<|im_end|>"
"""Ends every turn of the known conversations."""

_CHATML = (
    "{%- if messages[0].role != 'system' -%}{{- '<|im_start|>system\\nSYSTEM<|im_end|>BREAK' -}}{%- endif -%}"
    "{%- for message in messages -%}"
    "{{- '<|im_start|>' ~ message.role ~ '\\n' -}}"
    "{%- if message.content is string -%}{{- message.content -}}{%- else -%}"
    "{%- for part in message.content -%}"
    "{%- if part.type in ['image', 'image_url'] -%}{{- 'IMAGE\\n' -}}"
    "{%- elif part.text is defined -%}{{- part.text -}}"
    "{%- else -%}{{- raise_exception('a message holds text and images, and this one ' ~ part.type) -}}{%- endif -%}"
    "{%- endfor -%}{%- endif -%}"
    "{{- '<|im_end|>BREAK' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"
)


@dataclass(frozen=True, slots=True)
class _Conversation:
    system: str
    behind: str
    """What follows the end of a turn."""


_KNOWN = {
    "internvl2_5": _Conversation(_NAMED, "\\n"),
    "internlm2-chat": _Conversation(_EARLIER, ""),
    "Hermes-2": _Conversation(_EARLIER, ""),
}


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """A chat template that writes one image token for each picture."""

    text: str
    said: str
    """Where it is from, in words."""
    end: str | None
    """What ends a turn, where the template says it; None where the tokenizer's end token does."""


def chat_template(directory: Path, raw: dict[str, Any], tokenizer: Any, image_token: str) -> ChatTemplate:
    """Of the conversation that the config names; else of the tokenizer. Raises ModelError where there is neither."""
    name = raw.get("template")
    known = _KNOWN.get(name) if isinstance(name, str) else None
    if known is not None and (raw["model_type"] != "skywork_chat" or tokenizer.chat_template is None):
        system = raw.get("system_message") or known.system
        if not isinstance(system, str):
            raise ModelError(f"{directory}: system_message = {system!r}; expected a text")
        text = _CHATML.replace("BREAK", known.behind).replace("IMAGE", image_token).replace("SYSTEM", _literal(system))
        fault = template_fault(tokenizer, text, image_token)
        if fault is not None:
            raise ModelError(
                f"{directory}: the conversation {name} cannot be written ({fault}); correct system_message"
            )
        return ChatTemplate(text, f"the conversation {name} of the authors' code", END)
    if tokenizer.chat_template is None:
        raise ModelError(
            f'{directory}: its config names the conversation "{name}", which is not known (known are '
            f"{', '.join(_KNOWN)}), and its tokenizer has no chat template; put one beside it, as chat_template.jinja"
        )
    text, what = extended_template(tokenizer, image_token, directory)
    reason = f'its config names "{name}", which is not known' if known is None else "as its authors' example asks it"
    return ChatTemplate(text, f"the tokenizer's own ({reason}), {what}", None)


def _literal(text: str) -> str:
    """As it stands between quotation marks in a template."""
    return text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
