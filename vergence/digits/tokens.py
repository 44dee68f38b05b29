"""The word-level tokenizer of the digits language parent: 34 symbols, and a chat template of one line."""

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from vergence.digits.questions import CAPTION, QUESTIONS

SPECIAL = ("<pad>", "<bos>", "<eos>", "<unk>", "<img>", "</img>", "<IMG_CONTEXT>")
WORDS = ("<think>", "</think>", "<answer>", "</answer>", *"?+-*=,", *"0123456789", *QUESTIONS, CAPTION)

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{% if message.content is string %}{{ message.content }}{% else %}"
    "{% for part in message.content %}{% if part.type == 'image' %}<IMG_CONTEXT>{% else %}{{ part.text }}"
    "{% endif %}{% endfor %}{% endif %}{% endfor %}"
)


def build_tokenizer() -> PreTrainedTokenizerFast:
    """One id per symbol; anything else becomes `<unk>`."""
    vocabulary = {word: index for index, word in enumerate((*SPECIAL, *WORDS))}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\s+"), "removed"),
            pre_tokenizers.Split(Regex(r"</?[A-Za-z_]+>|[A-Za-z]+|."), "isolated"),
        ]
    )
    backend.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<bos>",
        eos_token="<eos>",
        pad_token="<pad>",
        unk_token="<unk>",
        additional_special_tokens=["<img>", "</img>", "<IMG_CONTEXT>"],
        chat_template=CHAT_TEMPLATE,
        padding_side="left",
        model_max_length=64,
    )
