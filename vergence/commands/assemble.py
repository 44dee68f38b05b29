"""`vergence assemble`."""

from pathlib import Path

from vergence.assembly.assemble import Choices, Parents, plan_assembly, write_assembly
from vergence.assembly.describe import described, parity_line
from vergence.commands.quiet import quieten_libraries
from vergence.errors import DirectoryError
from vergence.model.device import choose_device
from vergence.run.checkpoint import remove_leftovers, whole_folder
from vergence.terminal import say


def assemble_command(parents: Parents, choices: Choices, out: Path) -> None:
    """Put the parts together, check them, write one checkpoint. Nothing is written if anything is wrong."""
    quieten_libraries()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DirectoryError(f"{out}: exists and is not empty; choose another --out")
    plan = plan_assembly(parents, choices)
    say("\n".join(described(plan)))
    remove_leftovers(out)
    with whole_folder(out) as target:
        assembled = write_assembly(
            plan, target, device=choose_device("cpu"), example_question="What is in the picture?"
        )
    files = f"{len(assembled.files)} files" if len(assembled.files) > 1 else assembled.files[0]
    say(f"{out}: {assembled.parameters:,} parameters, {plan.nbytes / 1e9:.2f} GB in {files}")
    say(parity_line(assembled))
