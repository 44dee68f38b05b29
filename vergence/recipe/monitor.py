"""What is watched while a stage trains."""

from vergence.recipe.sections import Positive, Section, Share


class MonitorSection(Section):
    """The judge-free perception monitor."""

    every: Positive = 5
    """Steps between measurements."""
    completions: Positive = 32
    """Completions of the step that are scored with a masked picture."""
    mask_share: Share = 0.6
    """Share of the patches that are blacked out (PAPO)."""
    mask_patch: Positive = 8
    """Side of a patch in pixels of the processed picture."""
