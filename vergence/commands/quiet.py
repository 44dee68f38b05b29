"""Other people's progress bars and warnings, off: the terminal belongs to the run."""

import logging
import warnings


def quieten_libraries() -> None:
    """Silence transformers' bars and advice; errors still arrive as exceptions."""
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
