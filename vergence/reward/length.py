"""The soft length penalty of DAPO: long completions lose a little before the token limit cuts them off."""


def soft_overlong(length: int, limit: int, margin: int) -> float:
    """What a completion of `length` tokens loses near the token limit L, with a margin of C tokens (DAPO's L_cache).

        0                  length <= L - C
        (L - C - length) / C     between
        -1                 length >= L

    A number between -1 and 0.
    """
    return min(0.0, max(-1.0, (limit - margin - length) / margin))
