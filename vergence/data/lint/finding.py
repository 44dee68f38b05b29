"""What is found wrong with samples."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from vergence.data.decoding import Conversion


class Fault(StrEnum):
    """What is wrong with a sample."""

    ROW = "unreadable row"
    QUESTION = "empty question"
    ANSWER = "empty answer"
    GOLD = "answer that cannot be graded"
    PAIR = "no pair"
    MISSING = "missing image"
    BROKEN = "broken image"
    TRUNCATED = "truncated image"
    ABSURD = "absurd image size"
    MARKS = "marks and pictures differ"
    SAME_ID = "repeated id"
    SAME = "duplicate"
    CONTRADICTION = "same question, other answer"
    PROMPT = "no prompt"
    TOO_LONG = "longer than the context"
    NO_ROOM = "no room for a response"
    COLUMN = "column that no row has"
    TURNED = "turned image"
    TRANSPARENT = "transparent image"
    DEEP = "image of more than 8 bits"
    CMYK = "image in CMYK"
    FRAMES = "image of several frames"


MEANING = {
    Fault.ROW: "the row cannot be read, or is not of this layout",
    Fault.QUESTION: "there is nothing to answer",
    Fault.ANSWER: "no response could be right",
    Fault.GOLD: "the grader does not take the right answer itself for right",
    Fault.PAIR: "chosen or rejected is missing, or both are equal",
    Fault.MISSING: "no such file, or an address while the network is off",
    Fault.BROKEN: "not a picture",
    Fault.TRUNCATED: "its header is whole and its data are not",
    Fault.ABSURD: "too large, or more than 200 times as long as wide",
    Fault.MARKS: "the question names more or fewer pictures than there are; the layout puts right what it can",
    Fault.SAME_ID: "ids key the random draws",
    Fault.SAME: "an earlier row asks the same about the same pictures and has the same answer",
    Fault.CONTRADICTION: "an earlier row asks the same about the same pictures and has another answer",
    Fault.PROMPT: "the model's chat template or image processor refuses it",
    Fault.TOO_LONG: "the prompt, pictures included, is longer than the model's context",
    Fault.NO_ROOM: "prompt and longest response together are longer than the model's context",
    Fault.COLUMN: "the recipe names it, so it is misspelt, or its values are in other files",
    Fault.TURNED: "its file says that it is stored on its side or mirrored; the model sees it as a viewer shows it",
    Fault.TRANSPARENT: "the model sees it on white",
    Fault.DEEP: "the model sees it scaled to 8 bits, by the smallest usual range that holds its values",
    Fault.CMYK: "the model sees it in RGB, without a colour profile",
    Fault.FRAMES: "the model sees the first",
}
"""Fault to what it means, for reports."""

NOTES = {
    Conversion.TURNED: Fault.TURNED,
    Conversion.TRANSPARENT: Fault.TRANSPARENT,
    Conversion.DEEP: Fault.DEEP,
    Conversion.CMYK: Fault.CMYK,
    Conversion.FRAMES: Fault.FRAMES,
}
"""What is done to a picture, as a finding. It is no fault: the sample is kept, and `--strict` does not count it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with one sample."""

    index: int
    """The row, from 0."""
    where: str
    """File and line."""
    id: str
    fault: Fault
    text: str
    """What was found, in one line."""
    question: str = ""
    images: tuple[str, ...] = ()
    """Files of the sample's pictures, as far as there are any."""
    drops: bool = True
    """Whether the sample is left out of the clean set."""

    @property
    def is_note(self) -> bool:
        """Whether it only says how something is read."""
        return self.fault in NOTES.values()

    def row(self) -> dict[str, Any]:
        """As plain values, for JSON lines."""
        return {
            "where": self.where,
            "row": self.index,
            "id": self.id,
            "fault": str(self.fault),
            "text": self.text,
            "left_out": self.drops,
        }
