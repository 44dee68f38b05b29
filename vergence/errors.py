"""Every error that Vergence raises on purpose.

    VergenceError
    ├── InputError            the user's input is wrong                     exit code 2
    │   ├── RecipeError       a recipe, or a --set override
    │   ├── DataError         a data file, a row of it, an image
    │   ├── ModelError        a model directory, or two parts that do not fit
    │   └── DirectoryError    a run directory, or one of features, that cannot be used as asked
    └── RunError              the input was right and the run failed        exit code 1
        ├── NonFiniteError    a loss, a gradient or a preference score is not a number, or a reward overflows
        ├── SelfCheckError    the shared-prompt computation and the plain one disagree
        ├── IntegrityError    a picture was lost, swapped or changed on its way to the model
        └── ParityError       an assembled model does not compute what its parents computed

Every message is one line: where, what was expected, what was found, what to do.
"""


class VergenceError(Exception):
    """Anything that the command line reports in one line instead of a traceback."""

    exit_code = 1


class InputError(VergenceError):
    """The input was wrong; nothing was changed."""

    exit_code = 2


class RecipeError(InputError):
    """A recipe file or an override of it is wrong."""


class DataError(InputError):
    """A data file, one of its rows, or an image is wrong."""


class ModelError(InputError):
    """A model directory cannot be used, or two parts do not fit together."""


class DirectoryError(InputError):
    """A run directory, or one of features, cannot be used as asked."""


class RunError(VergenceError):
    """The input was right and the run failed all the same."""


class NonFiniteError(RunError):
    """A loss, a gradient norm or a preference score is infinite or not a number, or a reward too large to compute."""


class SelfCheckError(RunError):
    """The shared-prompt computation and the plain one disagree."""


class IntegrityError(RunError):
    """A picture was lost, swapped or changed on its way to the model."""

    def __init__(self, message: str, *, picture: str = "") -> None:
        super().__init__(message)
        self.picture = picture
        """SHA-256 of the picture's bytes; "" where none can be named."""


class ParityError(RunError):
    """An assembled model does not compute what its parents computed."""
