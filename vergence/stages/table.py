"""The table of trainable parameters that is printed when a stage begins."""

from collections.abc import Mapping

from rich.table import Table

from vergence.model.families.family import Role
from vergence.model.parameters import Training, role_table
from vergence.model.policy import Policy
from vergence.stages.context import Context


def show_roles(policy: Policy, training: Mapping[Role, Training], stage: str, context: Context) -> None:
    """Print role, parameters, how many of them are trained, learning rate, weight decay and of how many."""
    table = Table(box=None, pad_edge=False, header_style="dim", style="dim")
    for title in (stage, "parameters", "trained", "learning rate", "weight decay"):
        table.add_column(title, justify="left" if title == stage else "right")
    for row in role_table(policy, training):
        rate = f"{row.learning_rate:g}" if row.trainable else "frozen"
        decay = f"{row.weight_decay:g}" if row.trainable else ""
        if row.decayed:
            decay += f" on {row.decayed:,}"
        table.add_row(f"  {row.role}", f"{row.total:,}", f"{row.trainable:,}", rate, decay)
    context.progress.say(table)
