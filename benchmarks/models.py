"""The models and data that both sides load:  python -m benchmarks.models [--folder FOLDER] [NAME ...]

Runs in either environment. Everything is a function of the configuration, of fixed seeds and of the Python version
(the tokenizers are trained on the standard library's source); build once and let both sides read the same folder:

    FOLDER/llava-196-1k/            a saved LLaVA, fp32, random weights: config, weights, tokenizer, image processor
    FOLDER/tiny-llava/ ...          small models of three families, for numeric equality; data in data/tiny-llava/
    FOLDER/data/G1/problems.jsonl   one problem a line:
                                    {"id": "G1-0", "question": ..., "images": ["0.png"], "answer": "-"}
    FOLDER/data/G1/0.png            its picture, named relative to the file
    FOLDER/data/M1/pairs.jsonl      one pair a line, in the order of problems.jsonl:
                                    {"id", "chosen", "rejected", "chosen_ids", "rejected_ids"}
    FOLDER/data/G1/completions.jsonl  fixed completions for lane N, one prompt of one round a line, in training order:
                                    {"id", "round", "completion_ids": [[...], ...], "rewards": [...]}
    FOLDER/data/tiny-llava/dead.jsonl  the same with several prompts a round, whose groups are dead or partly so

A question is as long as it must be for the prompt to have exactly `prompt_tokens` tokens. `chosen_ids` ends in the end
token and has exactly `completion_tokens` ids; `chosen` is its text without the end token, which the chat template adds.
"""

import argparse
import json
import sysconfig
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.configs import CONFIGS, PATCH, ROUNDS_OF_DATA, Config

DEFAULT_FOLDER = Path(".bench/models")
PAD, END, START, IMAGE = "<|pad|>", "<|im_end|>", "<|im_start|>", "<image>"
INTERNVL = {
    "start_image_token": "<img>",
    "end_image_token": "</img>",
    "context_image_token": "<IMG_CONTEXT>",
    "video_token": "<video>",
}
QWEN = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
SPECIALS = (PAD, END, START, IMAGE, *INTERNVL.values(), *QWEN)
"""In every vocabulary: their ids are their places here."""
PLACEHOLDERS = {
    "llava": IMAGE,
    "internvl": "<IMG_CONTEXT>",
    "qwen2_5_vl": "<|vision_start|><|image_pad|><|vision_end|>",
}
TINY = {"tiny-llava": "llava", "tiny-internvl": "internvl", "tiny-qwen2_5_vl": "qwen2_5_vl"}
"""Folder to family."""
EQUALITY_ROUNDS = 4
"""How many rounds of fixed completions there are."""
DEAD_REWARDS = {
    "right": [1.0] * 8,
    "wrong": [0.0] * 8,
    "mixed": [1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
    "partly": [0.0, 1.0, 0.5, 0.5, 1.0, 0.0, 0.5, 0.5],
}
"""Rewards of a group by its kind; half of the completions of "partly" are at the mean, hence without advantage."""
DEAD_ROUNDS = (
    ("right", "wrong", "mixed", "partly"),
    ("right", "wrong", "right", "wrong"),
    ("wrong", "partly", "right", "mixed"),
)
"""The kinds of groups of each round of dead.jsonl: some dead, all dead, some dead."""
_TINY_SIDE, _TINY_VOCAB, _TINY_PROBLEMS = 56, 1024, 4
_SEED = 20261122
_TEMPLATE = """\
{%- for message in messages -%}
{{ '<|im_start|>' + message['role'] + '\\n' }}
{%- if message['content'] is string -%}{{ message['content'] }}
{%- else -%}
{%- for part in message['content'] -%}
{%- if part['type'] == 'image' -%}{{ 'PLACEHOLDER' }}{%- else -%}{{ part['text'] }}{%- endif -%}
{%- endfor -%}
{%- endif -%}
{{ '<|im_end|>' }}
{%- if message['role'] != 'assistant' -%}{{ '\\n' }}{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}
"""
"""An assistant's turn ends in the end token and nothing else, so that a response ends where a sampled one does."""


@cache
def tokenizer_of(vocab: int) -> Any:
    """A byte-level BPE tokenizer with `vocab` entries, trained on the standard library's source."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    library = Path(sysconfig.get_paths()["stdlib"])
    files = sorted(path for path in library.rglob("*.py") if "site-packages" not in path.parts)
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=vocab, special_tokens=list(SPECIALS), initial_alphabet=alphabet, show_progress=False
    )
    bpe.train_from_iterator((path.read_text(encoding="utf-8", errors="ignore") for path in files), trainer)
    if bpe.get_vocab_size() != vocab:
        raise ValueError(f"the corpus gives {bpe.get_vocab_size()} tokens, {vocab} are needed")
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token=PAD,
        eos_token=END,
        padding_side="left",
        additional_special_tokens=list(SPECIALS[2:]),
        extra_special_tokens=INTERNVL,
    )


@cache
def words_of(vocab: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Words that are one token at the beginning of a text, and words that are one token after a space."""
    entries = sorted(tokenizer_of(vocab).get_vocab())
    first = tuple(entry for entry in entries if entry.isascii() and entry.isalpha() and len(entry) > 2)
    later = tuple(entry[1:] for entry in entries if entry[0] == "Ġ" and entry[1:].isascii() and entry[1:].isalpha())
    return first, tuple(word for word in later if len(word) > 2)


def text_of(vocab: int, tokens: int, random: Random) -> str:
    """A text of exactly so many tokens.

    Example: `text_of(1024, 3, Random(0))` might be `"self return list"`.
    """
    first, later = words_of(vocab)
    text = " ".join([random.choice(first), *random.choices(later, k=tokens - 1)])
    found = len(tokenizer_of(vocab)(text)["input_ids"])
    if found != tokens:
        raise ValueError(f"{text!r} has {found} tokens, {tokens} are needed")
    return text


def _language(vocab: int, **sizes: Any) -> dict[str, Any]:
    ends = {"bos_token_id": None, "eos_token_id": SPECIALS.index(END), "pad_token_id": SPECIALS.index(PAD)}
    return {"vocab_size": vocab, "tie_word_embeddings": True, "max_position_embeddings": 4096} | sizes | ends


def _llava(side: int, vocab: int, vision: dict[str, Any], language: dict[str, Any]) -> Any:
    from transformers import CLIPVisionConfig, LlavaConfig, LlavaForConditionalGeneration, Qwen2Config

    return LlavaForConditionalGeneration(
        LlavaConfig(
            vision_config=CLIPVisionConfig(image_size=side, patch_size=PATCH, projection_dim=64, **vision),
            text_config=Qwen2Config(**_language(vocab, **language)),
            image_token_index=SPECIALS.index(IMAGE),
            image_seq_length=(side // PATCH) ** 2,
            tie_word_embeddings=True,
        )
    )


def _internvl(vocab: int, language: dict[str, Any]) -> Any:
    from transformers import InternVLConfig, InternVLForConditionalGeneration, InternVLVisionConfig

    vision = InternVLVisionConfig(
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        image_size=[_TINY_SIDE, _TINY_SIDE],
        patch_size=[PATCH, PATCH],
    )
    return InternVLForConditionalGeneration(
        InternVLConfig(
            vision_config=vision,
            text_config={"model_type": "qwen2"} | _language(vocab, **language),
            image_token_id=SPECIALS.index("<IMG_CONTEXT>"),
            image_seq_length=(_TINY_SIDE // PATCH) ** 2 // 4,
            tie_word_embeddings=True,
        )
    )


def _qwen(vocab: int, language: dict[str, Any]) -> Any:
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]}
    return Qwen2_5_VLForConditionalGeneration(
        Qwen2_5_VLConfig(
            vision_config={
                "hidden_size": 64,
                "depth": 2,
                "num_heads": 4,
                "intermediate_size": 128,
                "out_hidden_size": 64,
                "window_size": 56,
                "fullatt_block_indexes": [1],
            },
            text_config=_language(vocab, **language, rope_parameters=rope),
            image_token_id=SPECIALS.index("<|image_pad|>"),
            video_token_id=SPECIALS.index("<|video_pad|>"),
            vision_start_token_id=SPECIALS.index(QWEN[0]),
            vision_end_token_id=SPECIALS.index(QWEN[1]),
            tie_word_embeddings=True,
        )
    )


def _image_processor(family: str, side: int) -> Any:
    # by name: the automatic class fails without torchvision on older versions
    if family == "llava":
        from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

        return CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side})
    if family == "internvl":
        from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil

        return GotOcr2ImageProcessorPil(size={"height": side, "width": side}, crop_to_patches=False)
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    return Qwen2VLImageProcessorPil(patch_size=PATCH, size={"shortest_edge": 56 * 56, "longest_edge": 56 * 56})


_PROCESSORS: dict[str, dict[str, Any]] = {
    "llava": {
        "processor_class": "LlavaProcessor",
        "patch_size": PATCH,
        "vision_feature_select_strategy": "default",
        "num_additional_image_tokens": 1,
        "image_token": IMAGE,
    },
    "internvl": {"processor_class": "InternVLProcessor", "image_seq_length": (_TINY_SIDE // PATCH) ** 2 // 4},
    "qwen2_5_vl": {"processor_class": "Qwen2_5_VLProcessor"},
}
_VIDEO_PROCESSORS = {"internvl": "InternVLVideoProcessor", "qwen2_5_vl": "Qwen2VLVideoProcessor"}


def _save(model: Any, family: str, side: int, folder: Path) -> None:
    """Model, tokenizer, processors and template; the processor by hand, since its class may ask for torchvision."""
    from transformers import GenerationConfig

    model.generation_config = GenerationConfig(pad_token_id=SPECIALS.index(PAD), eos_token_id=SPECIALS.index(END))
    model.save_pretrained(folder)
    tokenizer = tokenizer_of(model.config.get_text_config().vocab_size)
    tokenizer.chat_template = _TEMPLATE.replace("PLACEHOLDER", PLACEHOLDERS[family])
    tokenizer.save_pretrained(folder)
    _image_processor(family, side).save_pretrained(folder)
    processor = _PROCESSORS[family]
    _merge(folder / "preprocessor_config.json", {"processor_class": processor["processor_class"]})
    _merge(folder / "processor_config.json", processor)
    if family in _VIDEO_PROCESSORS:
        video = {"video_processor_type": _VIDEO_PROCESSORS[family], "processor_class": processor["processor_class"]}
        _merge(folder / "video_preprocessor_config.json", video)


def _merge(path: Path, more: dict[str, Any]) -> None:
    old = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(old | more, indent=2) + "\n")


def build_benchmark_model(config: Config, folder: Path) -> None:
    """The model a configuration is timed with: 14 M parameters, 27 M with the large vocabulary."""
    import torch

    torch.manual_seed(_SEED)
    vision = {"hidden_size": 256, "num_hidden_layers": 6, "num_attention_heads": 4, "intermediate_size": 1024}
    language = {
        "hidden_size": 384,
        "num_hidden_layers": 6,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
        "intermediate_size": 1024,
    }
    _save(_llava(config.image_side, config.vocab, vision, language), "llava", config.image_side, folder)


def build_tiny_model(family: str, folder: Path) -> None:
    """A model of one family for numeric equality: well under 1 M parameters.

    Its weights are larger than usual, so that attention is far from uniform and mistakes show.
    """
    import torch

    torch.manual_seed(_SEED)
    language = {
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 128,
    }
    if family == "llava":
        vision = {"hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 128}
        model = _llava(_TINY_SIDE, _TINY_VOCAB, vision, language)
    else:
        model = (_internvl if family == "internvl" else _qwen)(_TINY_VOCAB, language)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(5.0)
    _save(model, family, _TINY_SIDE, folder)


@cache
def _photographs() -> tuple[Any, ...]:
    """scikit-learn's two sample photographs, 640 x 427, as PIL images."""
    from PIL import Image
    from sklearn.datasets import load_sample_images

    return tuple(Image.fromarray(image) for image in load_sample_images().images)


def crop(index: int, width: int, height: int) -> Any:
    """A crop of one of the photographs, scaled to width x height: another one for every index."""
    from PIL import Image

    photograph = _photographs()[index % 2]
    random = Random(f"crop {index}")
    share = 0.7 + 0.3 * random.random()
    scale = share * min(photograph.width / width, photograph.height / height)
    size = (scale * width, scale * height)
    left = random.random() * (photograph.width - size[0])
    top = random.random() * (photograph.height - size[1])
    box = (left, top, left + size[0], top + size[1])
    return photograph.resize((width, height), Image.Resampling.BICUBIC, box=box)


def prompt_overhead(vocab: int) -> int:
    """Tokens of a prompt that are neither picture nor question."""
    frame = f"{START}user\n{IMAGE}{END}\n{START}assistant\n"
    return len(tokenizer_of(vocab)(frame)["input_ids"]) - 1


def build_data(config: Config, folder: Path) -> None:
    """Pictures, problems and, for MPO, pairs of one configuration: `ROUNDS_OF_DATA` rounds of them."""
    words = config.prompt_tokens - config.image_tokens - prompt_overhead(config.vocab)
    problems: list[dict[str, Any]] = []
    pairs: list[dict[str, Any]] = []
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(config.prompts * ROUNDS_OF_DATA):
        random = Random(f"{config.prompt_tokens} {config.vocab} {index}")
        width, height = config.jpeg_size or (config.image_side, config.image_side)
        file = f"{index}.jpg" if config.jpeg_size else f"{index}.png"
        crop(index, width, height).save(folder / file, **({"quality": 90} if config.jpeg_size else {}))
        key = f"{config.name}-{index}"
        question = text_of(config.vocab, words, random)
        problems.append({"id": key, "question": question, "images": [file], "answer": "-"})
        if config.kind == "mpo":
            pairs.append({"id": key} | _pair(config.vocab, config.completion_tokens, random))
    _write_lines(folder / "problems.jsonl", problems)
    if config.kind == "mpo":
        _write_lines(folder / "pairs.jsonl", pairs)
    else:
        length, count = config.completion_tokens, config.completions
        lines = [fixed_completions(row["id"], i, config.vocab, length, length, count) for i, row in enumerate(problems)]
        numbered = [line | {"round": line["round"] // config.prompts} for line in lines]
        _write_lines(folder / "completions.jsonl", [line for line in numbered if line["round"] < EQUALITY_ROUNDS])


def _pair(vocab: int, length: int, random: Random) -> dict[str, Any]:
    texts = {side: text_of(vocab, length - 1, random) for side in ("chosen", "rejected")}
    ids = {f"{side}_ids": tokenizer_of(vocab)(text + END)["input_ids"] for side, text in texts.items()}
    return texts | ids


def build_tiny_data(folder: Path) -> None:
    """The same for a tiny model: questions of different lengths, pairs of equal length, ragged completions."""
    folder.mkdir(parents=True, exist_ok=True)
    problems: list[dict[str, Any]] = []
    pairs: list[dict[str, Any]] = []
    for index in range(_TINY_PROBLEMS):
        random = Random(f"tiny {index}")
        crop(index, _TINY_SIDE, _TINY_SIDE).save(folder / f"{index}.png")
        question = text_of(_TINY_VOCAB, 5 + 3 * index, random)
        problems.append({"id": f"tiny-{index}", "question": question, "images": [f"{index}.png"], "answer": "-"})
        pairs.append({"id": f"tiny-{index}"} | _pair(_TINY_VOCAB, 16, random))
    fixed = [fixed_completions(row["id"], place, _TINY_VOCAB, 6, 16, 8) for place, row in enumerate(problems)]
    dead = [
        fixed_completions(problems[place]["id"], 100 + 10 * number + place, _TINY_VOCAB, 6, 16, 8)
        | {"round": number, "rewards": DEAD_REWARDS[kind]}
        for number, kinds in enumerate(DEAD_ROUNDS)
        for place, kind in enumerate(kinds)
    ]
    _write_lines(folder / "problems.jsonl", problems)
    _write_lines(folder / "pairs.jsonl", pairs)
    _write_lines(folder / "completions.jsonl", fixed)
    _write_lines(folder / "dead.jsonl", dead)


def fixed_completions(key: str, place: int, vocab: int, shortest: int, longest: int, count: int) -> dict[str, Any]:
    """One line of completions.jsonl: random ids and rewards; where lengths differ, the shorter ones end properly."""
    random = Random(f"completions {place} {vocab}")
    lengths = [random.randint(shortest, longest) for _ in range(count)]
    ids = [random.choices(range(len(SPECIALS), vocab), k=length) for length in lengths]
    ids = [[*row[:-1], SPECIALS.index(END)] if len(row) < longest - 2 else row for row in ids]
    return {"id": key, "round": place, "completion_ids": ids, "rewards": [random.random() for _ in ids]}


def _write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def build(names: list[str], folder: Path) -> None:
    """Models and data of these configurations and tiny models; what is there already is left alone."""
    for name in names:
        if name in TINY:
            build_tiny_data(folder / "data" / name)
            if not (folder / name / "config.json").exists():
                build_tiny_model(TINY[name], folder / name)
        else:
            config = CONFIGS[name]
            if not (folder / config.model / "config.json").exists():
                build_benchmark_model(config, folder / config.model)
            build_data(config, folder / "data" / name)
        print(f"{name}: ready in {folder}", flush=True)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=[*CONFIGS, *TINY], metavar="NAME")
    parser.add_argument("--folder", type=Path, default=DEFAULT_FOLDER)
    arguments = parser.parse_args()
    build(arguments.names, arguments.folder)


if __name__ == "__main__":
    main()
