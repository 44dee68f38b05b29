"""The arguments of `vergence assemble`; nothing here needs torch."""

import argparse
from collections.abc import Callable
from pathlib import Path

from vergence.errors import ModelError

Quieten = Callable[[], None]
"""What has to happen before torch is imported."""

_GRAMMAR = """\
Every DIR of a part may hold that part by itself, or a larger model that has one: a CLIP or SigLIP with its text half,
a vision-language model. --from VLM takes from one such model every part that is not named, its adapter included.

  a tower and a language model, fresh adapter    --vision TOWER --language LM --out DIR
  the same as a LLaVA, in place of an InternVL   --vision TOWER --language LM --to llava --out DIR
  another language model under a trained adapter --from VLM --language LM --out DIR
  only the tower of a vision-language model      --vision VLM --language LM --out DIR
"""


def add_assemble(commands: "argparse._SubParsersAction[argparse.ArgumentParser]", quieten: Quieten) -> None:
    """`assemble`."""
    summary = "vision tower + adapter + language model -> one model"
    put = commands.add_parser(
        "assemble",
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=_GRAMMAR,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    put.add_argument("--vision", type=Path, metavar="DIR", help="InternViT, CLIP, SigLIP, SigLIP2 or DINOv2")
    put.add_argument("--language", type=Path, metavar="DIR", help="a causal language model with its tokenizer")
    put.add_argument(
        "--adapter", type=Path, metavar="DIR", help="a model whose adapter is taken (default: a fresh one)"
    )
    put.add_argument("--from", type=Path, metavar="VLM", dest="source", help="a model to take the parts not named from")
    put.add_argument("--out", type=Path, required=True, metavar="DIR")
    put.add_argument(
        "--to", choices=("internvl", "llava"), default="internvl", help="the class of the whole (default: internvl)"
    )
    put.add_argument("--seed", type=int, default=0, help="of a fresh adapter's weights (default: 0)")
    put.add_argument(
        "--dtype",
        choices=("keep", "float32", "bfloat16", "float16"),
        default="keep",
        help="what weights are stored in (default: as the parts have them)",
    )
    put.add_argument("--max-tiles", type=_positive, default=1, metavar="N", help="a picture becomes at most N tiles")
    put.add_argument(
        "--image-size", type=_positive, metavar="PIXELS", help="of a picture or tile (default: the tower's)"
    )
    put.add_argument("--feature-layer", type=int, metavar="N", help="the tower's hidden state to read, such as -2")
    put.add_argument(
        "--shard-gb", type=above_zero, default=4.0, metavar="GB", help="of one weight file at most (default: 4)"
    )
    put.add_argument(
        "--check-gb",
        type=_size,
        default=8.0,
        metavar="GB",
        help="memory for comparing whole models; larger ones are compared by small twins (default: 8)",
    )

    def command(options: argparse.Namespace) -> None:
        vision, language = options.vision or options.source, options.language or options.source
        if vision is None or language is None:
            raise ModelError("assemble: name a part for each half: --vision and --language, or --from with one of them")
        quieten()
        from vergence.assembly.assemble import Choices, Parents
        from vergence.commands.assemble import assemble_command

        choices = Choices(
            model_type=options.to,
            seed=options.seed,
            number_format=options.dtype,
            max_tiles=options.max_tiles,
            image_size=options.image_size,
            feature_layer=options.feature_layer,
            shard_gb=options.shard_gb,
            check_gb=options.check_gb,
        )
        assemble_command(Parents(vision, language, options.adapter or options.source), choices, options.out)

    put.set_defaults(command=command)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, found {value}")
    return value


def above_zero(text: str) -> float:
    """A number of gigabytes, as argparse takes it."""
    value = _size(text)
    if value == 0:
        raise argparse.ArgumentTypeError("must be more than 0")
    return value


def _size(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1e6:
        raise argparse.ArgumentTypeError(f"must be a number of gigabytes, found {text}")
    return value
