"""Reassembly: vision tower + MLP adapter + language model -> one vision-language checkpoint (R1V2 Eq. 1).

    y = f_l( f_c( f_v(x_v) ), x_t )

The adapter's shape is not in the paper; it is InternVL's (pixel shuffle, layer norm, linear, GELU, linear) or LLaVA's
(linear, GELU, linear). Nothing of either parent is changed: new image tokens go behind the old vocabulary, and a parity
check proves the rest. Everything is checked before anything is written, and tensors go from file to file in pieces, so
that memory does not depend on the parents' size.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from vergence.assembly.compose import Composition, ModelType, NumberFormat, compose, parameters, to_write
from vergence.assembly.parity import Parity, check, compare_models, compare_twins
from vergence.assembly.parts import AdapterPart, LanguagePart, VisionPart, read_adapter, read_language, read_vision
from vergence.assembly.pictures import Pictures, image_processor, picture_settings
from vergence.assembly.shards import GIGABYTE, Written, check_room, unequal, write_shards
from vergence.assembly.vocabulary import Vocabulary, vocabulary_with_images
from vergence.errors import ParityError
from vergence.model.families.known import FAMILIES
from vergence.model.pretrained import generation_config_from


@dataclass(frozen=True, slots=True)
class Parents:
    """Where the parts come from. Each directory holds that part by itself, or a larger model that has one."""

    vision: Path
    language: Path
    adapter: Path | None = None
    """A model whose adapter is taken; None is a fresh one."""


@dataclass(frozen=True, slots=True)
class Choices:
    """How they are put together."""

    model_type: ModelType = "internvl"
    seed: int = 0
    """Of a fresh adapter's weights."""
    number_format: NumberFormat = "keep"
    """What weights are stored in; keep is each part's own, and the language model's for a fresh adapter."""
    max_tiles: int = 1
    """Into how many tiles a picture is cut at most (InternVL)."""
    image_size: int | None = None
    """Pixels along a side of a picture or tile; None is what the tower was made for."""
    feature_layer: int | None = None
    """The hidden state of the tower that is read; None is the usual one of the tower, or the adapter's."""
    shard_gb: float = 4.0
    """Of one weight file, in 10^9 bytes, at most."""
    check_gb: float = 8.0
    """Memory that comparing the whole models may take, in 10^9 bytes; larger ones are compared by their twins."""


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """All that is known before anything is written."""

    parents: Parents
    choices: Choices
    vision: VisionPart
    language: LanguagePart
    adapter: AdapterPart | None
    pictures: Pictures
    vocabulary: Vocabulary
    composition: Composition
    tensors: list[Written]

    @property
    def nbytes(self) -> int:
        """Of the weights."""
        return sum(tensor.nbytes for tensor in self.tensors)

    @property
    def whole_models_fit(self) -> bool:
        """Whether models are compared as they are: one after the other in float32, and a piece of its own."""
        return 4 * parameters(self.composition, "") <= self.choices.check_gb * GIGABYTE


@dataclass(frozen=True, slots=True)
class Assembled:
    """What was written."""

    parity: Parity
    parameters: int
    files: tuple[str, ...]
    """Of the weights."""


def plan_assembly(parents: Parents, choices: Choices) -> Plan:
    """Read what is small and check all of it. Raises ModelError if a part cannot be read, or if parts do not fit."""
    vision, language = read_vision(parents.vision), read_language(parents.language)
    adapter = read_adapter(parents.adapter, choices.model_type) if parents.adapter else None
    pictures = picture_settings(
        vision, model_type=choices.model_type, image_size=choices.image_size, tiles=choices.max_tiles
    )
    vocabulary = vocabulary_with_images(language, choices.model_type)
    composition = compose(
        vision,
        language,
        adapter,
        model_type=choices.model_type,
        pictures=pictures,
        rows=vocabulary.rows,
        image_token_id=vocabulary.image_token_id,
        feature_layer=choices.feature_layer,
        number_format=choices.number_format,
        seed=choices.seed,
    )
    tensors = to_write(composition, choices.number_format)
    return Plan(parents, choices, vision, language, adapter, pictures, vocabulary, composition, tensors)


def write_assembly(plan: Plan, target: Path, *, device: torch.device, example_question: str) -> Assembled:
    """Write the checkpoint into a directory and prove that each half still computes what its parent computed.

    Whoever calls takes care that `target` is whole or absent. Raises ParityError if the result differs from a parent,
    DirectoryError if the disk is too small for it.
    """
    check_room(target, plan.nbytes)
    if not plan.whole_models_fit:  # needs no files, so it comes before they are written
        differences = compare_twins(
            plan.vision, plan.language, plan.pictures, _twins_composed(plan), seed=plan.choices.seed
        )
        check(*differences, plan.vision, _named(plan))
    files = write_shards(target, plan.tensors, round(plan.choices.shard_gb * GIGABYTE))
    _write_rest(plan, target, example_question)
    wrong = unequal(target, plan.tensors)
    if wrong:
        raise ParityError(
            f"{_named(plan)}: {len(wrong)} tensors in the files are not what was written, {wrong[0]} for one; "
            "the disk or the memory is faulty; nothing was kept"
        )
    if plan.whole_models_fit:
        differences = compare_models(
            target, plan.vision, plan.language, plan.pictures, seed=plan.choices.seed, device=device
        )
        check(*differences, plan.vision, _named(plan))
    parity = Parity(*differences, "models" if plan.whole_models_fit else "twins", len(plan.tensors))
    return Assembled(parity, parameters(plan.composition, ""), tuple(file.name for file in files))


def _write_rest(plan: Plan, target: Path, example_question: str) -> None:
    """Config, generation config, tokenizer with chat template, processors, README."""
    model_type = plan.choices.model_type
    plan.composition.config.save_pretrained(target)
    _generation_config(plan).save_pretrained(target)
    plan.vocabulary.tokenizer.save_pretrained(target)
    image_processor(plan.pictures, model_type).save_pretrained(target)
    FAMILIES[model_type].write_extras(target, plan.composition.config, example_question)


def _generation_config(plan: Plan) -> Any:
    """The language model's own: which tokens end an answer is its knowledge."""
    from transformers import GenerationConfig

    directory = plan.language.directory
    if (directory / "generation_config.json").is_file():
        return generation_config_from(directory)
    return GenerationConfig.from_model_config(plan.language.config)


def _twins_composed(plan: Plan) -> Any:
    def composed(vision: VisionPart, language: LanguagePart, rows: int, image_token_id: int) -> Composition:
        return compose(
            vision,
            language,
            None,
            model_type=plan.choices.model_type,
            pictures=plan.pictures,
            rows=rows,
            image_token_id=image_token_id,
            feature_layer=None,
            number_format="float32",
            seed=plan.choices.seed,
        )

    return composed


def _named(plan: Plan) -> str:
    return f"assembled from {plan.parents.vision} and {plan.parents.language}"
