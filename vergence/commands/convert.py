"""`vergence convert`."""

from pathlib import Path

from vergence.assembly.compose import NumberFormat, parameters
from vergence.assembly.convert import described_conversion, plan_conversion, write_conversion
from vergence.commands.quiet import quieten_libraries
from vergence.errors import DirectoryError
from vergence.run.checkpoint import remove_leftovers, whole_folder
from vergence.terminal import say


def convert_command(directory: Path, out: Path, number_format: NumberFormat, shard_gb: float) -> None:
    """Check a published checkpoint and write it as one of transformers. Nothing is written if anything is wrong."""
    quieten_libraries()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DirectoryError(f"{out}: exists and is not empty; choose another --out")
    plan = plan_conversion(directory, number_format)
    say("\n".join(described_conversion(plan)))
    remove_leftovers(out)
    with whole_folder(out) as target:
        names = write_conversion(plan, target, shard_gb, "What is in the picture?")
    files = f"{len(names)} files" if len(names) > 1 else names[0]
    say(f"{out}: {parameters(plan.composition, ''):,} parameters, {plan.nbytes / 1e9:.2f} GB in {files}")
    say(
        f"parity: {len(plan.written)} tensors equal bit for bit; a small model of these settings differs from the "
        f"published computation by {plan.twin_difference:.1e} of its largest feature"
    )
