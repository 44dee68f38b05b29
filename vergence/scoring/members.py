"""The identity of a member, and which members of some groups have to be scored."""

import hashlib
from collections.abc import Sequence

from vergence.pairs.comparisons import Member
from vergence.types import Prompt, RolloutGroup

READING = b"2"
"""Part of every key, so that scores on disk are forgotten when reward models of ours come to read members otherwise.
2: all that ended by themselves end with one token."""


def prompt_digest(prompt: Prompt) -> bytes:
    """[16 bytes] of what a reward model reads of a prompt: its question, its tokens and its pictures' bytes."""
    digest = hashlib.blake2b(prompt.problem.question.encode(), digest_size=16)
    digest.update(b"\x00" + prompt.token_ids.tobytes())
    for image in prompt.problem.images:
        digest.update(b"\x00" + image.sha256.encode())
    return digest.digest()


def member_key(of_prompt: bytes, member: Member) -> str:
    """32 hexadecimal digits; equal for members that every reward model scores alike, whatever their problems' ids."""
    digest = hashlib.blake2b(READING + of_prompt, digest_size=16)
    digest.update(member[1].token_ids.tobytes())
    digest.update(b"\x00" + str(member[1].finish).encode() + b"\x00" + member[1].text.encode())
    return digest.hexdigest()


def keyed(groups: Sequence[RolloutGroup]) -> tuple[list[list[str]], dict[str, Member]]:
    """The keys of every group's completions, and each distinct member once, in order of appearance."""
    keys: list[list[str]] = []
    distinct: dict[str, Member] = {}
    for group in groups:
        of_prompt = prompt_digest(group.prompt)
        members = [(group.prompt, one) for one in group.completions]
        keys.append([member_key(of_prompt, member) for member in members])
        for key, member in zip(keys[-1], members, strict=True):
            distinct.setdefault(key, member)
    return keys, distinct
