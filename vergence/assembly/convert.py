"""A published checkpoint in the layout of its authors' code -> one that transformers and Vergence read by themselves.

Whole models (`internvl_chat`, `skywork_chat`) become `InternVLForConditionalGeneration`, a tower alone
(`intern_vit_6b`) becomes `InternVLVisionModel`. No number changes: every tensor, or the rows of a packed one, goes from
file to file in pieces, under another name. Everything is checked before anything is written: settings, names and shapes
of all tensors, the tokenizer, and on a small twin that the installed transformers computes what the authors published
(reference.py).
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from vergence.assembly.checkpoint import shapes, without_numbers
from vergence.assembly.compose import DTYPES, Composition, NumberFormat, parameters, to_write, widest
from vergence.assembly.conversation import ChatTemplate, chat_template
from vergence.assembly.internvl_chat import Chat, read_chat
from vergence.assembly.origins import gathered
from vergence.assembly.parts import EMBEDDING, VisionPart, published_tower
from vergence.assembly.pictures import Pictures, image_processor, picture_settings
from vergence.assembly.reference import check_chat, check_tower
from vergence.assembly.shards import GIGABYTE, Written, check_room, unequal, write_shards
from vergence.assembly.stored import Source, pieces, stored_tensors
from vergence.assembly.tokens import Tokens, read_tokens
from vergence.assembly.vocabulary import with_rows
from vergence.errors import ModelError, ParityError
from vergence.model.config_file import CHAT_LAYOUTS, TOWER_LAYOUT, raw_config
from vergence.model.families import internvl
from vergence.model.pretrained import generation_config_from

_EMBEDDING, _HEAD = f"model.language_model.{EMBEDDING}", "lm_head.weight"
_PUBLISHED_HEAD = "language_model.lm_head.weight"


@dataclass(frozen=True, slots=True, eq=False)
class Conversion:
    """All that is known before anything is written."""

    directory: Path
    composition: Composition
    written: list[Written]
    pictures: Pictures
    fewest_tiles: int
    twin_difference: float
    """Of a small model of these settings: as published, and as transformers' class; a share of the largest feature."""
    talk: "Talk | None"
    """None for a tower alone."""

    @property
    def nbytes(self) -> int:
        """Of the weights."""
        return sum(tensor.nbytes for tensor in self.written)


@dataclass(frozen=True, slots=True, eq=False)
class Talk:
    """What a whole model reads and writes."""

    tokens: Tokens
    template: ChatTemplate
    generation: Any
    """Its generation config, with every token that ends an answer."""


def plan_conversion(directory: Path, number_format: NumberFormat = "keep") -> Conversion:
    """Read what is small and check all of it.

    Raises ModelError if the directory is in no published layout, or in one that transformers' classes cannot hold;
    ParityError if the installed transformers computes something else than the authors' code.
    """
    raw = raw_config(directory)
    for section in (raw, raw.get("llm_config"), raw.get("vision_config")):
        if isinstance(section, dict) and section.get("quantization_config"):
            raise ModelError(f"{directory}: its weights are quantised; take the checkpoint that it was made from")
    kind = raw["model_type"]
    if kind == TOWER_LAYOUT:
        return _tower(directory, raw, number_format)
    if kind in CHAT_LAYOUTS:
        return _chat(directory, raw, number_format)
    raise ModelError(
        f'{directory}: model type "{kind}" is no layout that is converted; expected one of '
        f"{', '.join((*CHAT_LAYOUTS, TOWER_LAYOUT))} (what transformers has a class of needs no conversion)"
    )


def write_conversion(plan: Conversion, target: Path, shard_gb: float, example_question: str) -> tuple[str, ...]:
    """Write the checkpoint into a directory and read it back. Gives the names of the weight files.

    Whoever calls takes care that `target` is whole or absent. Raises ParityError if a tensor in the files is not what
    was written, DirectoryError if the disk is too small.
    """
    check_room(target, plan.nbytes)
    files = write_shards(target, plan.written, round(shard_gb * GIGABYTE))
    config = plan.composition.config
    config.save_pretrained(target)
    processor = image_processor(plan.pictures, "internvl")
    processor.min_patches = plan.fewest_tiles
    processor.save_pretrained(target)
    if plan.talk is not None:
        plan.talk.generation.save_pretrained(target)
        plan.talk.tokens.tokenizer.save_pretrained(target)
        internvl.FAMILY.write_extras(target, config, example_question)
    wrong = unequal(target, plan.written)
    if wrong:
        raise ParityError(
            f"{plan.directory}: {len(wrong)} tensors in the files are not what was written, {wrong[0]} for one; the "
            "disk or the memory is faulty; nothing was kept"
        )
    return tuple(file.name for file in files)


def _tower(directory: Path, raw: dict[str, Any], number_format: NumberFormat) -> Conversion:
    from transformers import InternVLVisionModel

    difference = check_tower(directory, raw)
    part = published_tower(directory, raw)  # checks it too, for those who put it together with other parts
    config = part.config
    config.dtype = DTYPES.get(number_format, widest(part.tensors))
    composition = _composition(InternVLVisionModel, config, part.tensors)
    pictures = picture_settings(part, model_type="internvl", image_size=None, tiles=1)
    return Conversion(directory, composition, to_write(composition, number_format), pictures, 1, difference, None)


def _chat(directory: Path, raw: dict[str, Any], number_format: NumberFormat) -> Conversion:
    from transformers import InternVLForConditionalGeneration

    chat = read_chat(directory, raw)
    difference = check_chat(directory, raw, chat.config, chat.origin)
    config = chat.config
    tensors = _chat_tensors(chat, without_numbers(InternVLForConditionalGeneration, config))
    tokens = read_tokens(directory, rows=tensors[_EMBEDDING].shape[0])
    template = chat_template(directory, raw, tokens.tokenizer, internvl.IMAGE_TOKEN)
    tokens.tokenizer.chat_template = template.text
    for name in (_EMBEDDING, _HEAD):
        if name in tensors:
            tensors[name] = with_rows(tensors[name], tokens.rows)
    config.image_token_id = tokens.image_token_id
    config.text_config.vocab_size = tokens.rows
    config.dtype = config.text_config.dtype = DTYPES.get(number_format, tensors[_EMBEDDING].dtype)
    tower = {name: one for name, one in tensors.items() if name.startswith("model.vision_tower.")}
    config.vision_config.dtype = DTYPES.get(number_format, widest(tower))
    composition = _composition(InternVLForConditionalGeneration, config, tensors)
    fewest, most = chat.tiles or (1, 1)
    part = VisionPart(directory, config.vision_config, tower, within=True)
    return Conversion(
        directory=directory,
        composition=composition,
        written=to_write(composition, number_format),
        pictures=picture_settings(part, model_type="internvl", image_size=chat.side, tiles=most),
        fewest_tiles=fewest,
        twin_difference=difference,
        talk=Talk(tokens, template, _generation(directory, config, tokens, template)),
    )


def _chat_tensors(chat: Chat, skeleton: Any) -> dict[str, Source]:
    wanted, tied = shapes(skeleton), bool(chat.config.tie_word_embeddings)
    if tied:
        del wanted[_HEAD]
    head = chat.origin(_HEAD, chat.config).name
    stored = stored_tensors(chat.directory)
    found = gathered(
        chat.directory, stored, wanted, lambda name: chat.origin(name, chat.config), unread=lambda name: name == head
    )
    if tied and head in stored and not _equal(stored[head], found[_EMBEDDING]):
        raise ModelError(
            f"{chat.directory}: its config says that the head is the embedding (tie_word_embeddings), and {head} is "
            "another matrix; correct the one that is wrong"
        )
    return found


def _generation(directory: Path, config: Any, tokens: Tokens, template: ChatTemplate) -> Any:
    """The published settings; what ends a turn of the conversation ends an answer as well."""
    from transformers import GenerationConfig

    if (directory / "generation_config.json").is_file():
        found = generation_config_from(directory)
    else:
        found = GenerationConfig.from_model_config(config)
    said = found.eos_token_id if isinstance(found.eos_token_id, list) else [found.eos_token_id]
    ends = {*said, tokens.tokenizer.eos_token_id}
    if template.end is not None:
        ends.add(tokens.tokenizer.convert_tokens_to_ids(template.end))
    found.eos_token_id = sorted(one for one in ends if one is not None)
    if tokens.added is not None:
        found.suppress_tokens = sorted({*(found.suppress_tokens or ()), tokens.added})
    found._from_model_config = False  # otherwise transformers makes it anew from the config
    return found


def _composition(model_class: Any, config: Any, tensors: dict[str, Source]) -> Composition:
    config.architectures = [model_class.__name__]
    read_back = type(config).from_dict(json.loads(config.to_json_string(use_diff=False)))
    return Composition(model_class, read_back, without_numbers(model_class, read_back), tensors)


def _equal(one: Source, other: Source) -> bool:
    same = one.shape == other.shape and one.dtype == other.dtype
    return same and all(torch.equal(a, b) for a, b in zip(pieces(one), pieces(other), strict=True))


def described_conversion(plan: Conversion) -> list[str]:
    """A few lines for a person who is about to write the checkpoint."""
    config, pictures = plan.composition.config, plan.pictures
    vision = getattr(config, "vision_config", config)
    kind = f"{vision.norm_type}{', normalised queries and keys' if vision.use_qk_norm else ''}"
    tower = "model.vision_tower." if plan.talk is not None else ""
    lines = [
        f"vision    {vision.num_hidden_layers} layers of width {vision.hidden_size} ({kind}), "
        f"{parameters(plan.composition, tower):,} parameters",
    ]
    if plan.talk is not None:
        text, tokens = config.text_config, plan.talk.tokens
        cut = f", cut into {plan.fewest_tiles} to {pictures.tiles} tiles with a thumbnail" if pictures.tiles > 1 else ""
        new = "" if tokens.added is None else f"; {internvl.VIDEO_TOKEN} in a new row, which is never sampled"
        lines += [
            f"          hidden state {config.vision_feature_layer}, {config.image_seq_length} tokens for "
            f"{pictures.side} x {pictures.side} pixels{cut}",
            f"language  {text.model_type}: {text.num_hidden_layers} layers of width {text.hidden_size}, "
            f"{tokens.rows:,} rows{new}",
            f"          chat template: {plan.talk.template.said}",
            f"          an answer ends with {', '.join(map(str, plan.talk.generation.eos_token_id))}",
        ]
    return lines
