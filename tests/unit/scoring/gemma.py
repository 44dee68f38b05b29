"""A tiny classifier with eyes, random weights: Gemma 3's class for sequence classification, and its processor."""

from pathlib import Path

import torch
from families import SYMBOLS
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    Gemma3Config,
    Gemma3ForSequenceClassification,
    Gemma3Processor,
    Gemma3TextConfig,
    PreTrainedTokenizerFast,
    SiglipVisionConfig,
)
from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil

SPECIAL = ("<pad>", "<bos>", "<eos>", "<unk>", "<image>", "<boi>", "<eoi>")
_TEMPLATE = (
    "<bos>{% for message in messages %}{{ message.role[0] }}:{% for part in message.content %}"
    "{% if part.type == 'image' %}<boi>{% else %}{{ part.text }}{% endif %}{% endfor %}<eos>{% endfor %}"
)


def tiny_seeing_classifier(folder: Path) -> Path:
    """Written into `folder`."""
    vocabulary = {symbol: index for index, symbol in enumerate((*SPECIAL, *SYMBOLS, "\n"))}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex("(?m)."), "isolated")
    backend.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<bos>",
        eos_token="<eos>",
        pad_token="<pad>",
        unk_token="<unk>",
        extra_special_tokens={"image_token": "<image>", "boi_token": "<boi>", "eoi_token": "<eoi>"},
        chat_template=_TEMPLATE,
    )
    tokenizer.image_token_id = SPECIAL.index("<image>")
    images = Gemma3ImageProcessorPil(size={"height": 28, "width": 28})
    text = Gemma3TextConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=256,
        pad_token_id=SPECIAL.index("<pad>"),
        sliding_window=64,
    )
    vision = SiglipVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=7
    )
    config = Gemma3Config(
        text_config=text,
        vision_config=vision,
        mm_tokens_per_image=4,
        boi_token_index=SPECIAL.index("<boi>"),
        eoi_token_index=SPECIAL.index("<eoi>"),
        image_token_index=SPECIAL.index("<image>"),
        num_labels=1,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Gemma3ForSequenceClassification(config)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(3.0)
            # transformers begins with zeros here, and pictures would leave no trace
            model.model.multi_modal_projector.mm_input_projection_weight.normal_(std=1.0)
    model.save_pretrained(folder)
    Gemma3Processor(images, tokenizer, chat_template=_TEMPLATE, image_seq_length=4).save_pretrained(folder)
    return folder
