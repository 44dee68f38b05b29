"""The arguments of `vergence convert`; nothing here needs torch."""

import argparse
from pathlib import Path

from vergence.commands.assemble_door import Quieten, above_zero

_ABOUT = """\
DIR is a checkpoint as it was published for its authors' own code, which is never run here:

  a whole model   model type internvl_chat or skywork_chat: InternVL 2.5, 3 and 3.5, Skywork R1V, R1V2 and R1V3
  a tower alone   model type intern_vit_6b: InternViT-6B and InternViT-300M

The numbers stay as they are. Names, config, tokenizer, chat template, image processor and generation config become
those that transformers reads by itself.
"""


def add_convert(commands: "argparse._SubParsersAction[argparse.ArgumentParser]", quieten: Quieten) -> None:
    """`convert`."""
    summary = "a published InternVL, Skywork R1V or InternViT -> a checkpoint of transformers"
    convert = commands.add_parser(
        "convert",
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=_ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    convert.add_argument("model", type=Path, metavar="DIR")
    convert.add_argument("--out", type=Path, required=True, metavar="DIR")
    convert.add_argument(
        "--dtype",
        choices=("keep", "float32", "bfloat16", "float16"),
        default="keep",
        help="what weights are stored in (default: as they are published)",
    )
    convert.add_argument(
        "--shard-gb", type=above_zero, default=4.0, metavar="GB", help="of one weight file at most (default: 4)"
    )

    def command(options: argparse.Namespace) -> None:
        quieten()
        from vergence.commands.convert import convert_command

        convert_command(options.model, options.out, options.dtype, options.shard_gb)

    convert.set_defaults(command=command)
