# ruff: noqa: RUF001 - it is about characters that look like others
"""Characters of other alphabets -> ASCII and LaTeX: wide signs, raised digits, roots, Greek, any script's digits."""

import re
import unicodedata

HAN = "\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
"""The letters of Chinese, Japanese and Korean, as a class of a regular expression; they stand without blanks."""

_GREEK_NAMES = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi chi psi "
    "omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega"
)
_GREEK = dict(zip("αβγδεζηθικλμνξπρστυφχψωΓΔΘΛΞΠΣΥΦΨΩ", _GREEK_NAMES.split(), strict=True))
_SIGNS = {letter: rf"\{name} " for letter, name in _GREEK.items()} | {
    "−": "-",
    "–": "-",
    "—": "-",
    "‐": "-",
    "‑": "-",
    "×": r"\times ",
    "·": r"\cdot ",
    "⋅": r"\cdot ",
    "∙": r"\cdot ",
    "÷": "/",
    "∕": "/",
    "⁄": "/",
    "∞": r"\infty ",
    "≤": r"\le ",
    "⩽": r"\le ",
    "≦": r"\le ",
    "≥": r"\ge ",
    "⩾": r"\ge ",
    "≧": r"\ge ",
    "≠": r"\ne ",
    "≈": r"\approx ",
    "±": r"\pm ",
    "∓": r"\mp ",
    "∪": r"\cup ",
    "∩": r"\cap ",
    "∈": r"\in ",
    "∅": r"\emptyset ",
    "ℝ": r"\mathbb{R}",
    "∠": r"\angle ",
    "⊥": r"\perp ",
    "∥": r"\parallel ",
    "△": r"\triangle ",
    "→": r"\to ",
    "∑": r"\sum ",
    "∏": r"\prod ",
    "∫": r"\int ",
    "∖": r"\setminus ",
    "⊂": r"\subset ",
    "⊆": r"\subseteq ",
    "≡": r"\equiv ",
    "≅": r"\cong ",
    "∣": "|",
    "‖": r"\|",
    "′": "'",
    "″": "''",
    "°": r"^\circ ",
    "º": r"^\circ ",
    "℃": r"^\circ C",
    "℉": r"^\circ F",
    "µ": r"\mu ",
    "ϕ": r"\phi ",
    "Ω": r"\Omega ",
    "½": r"\frac{1}{2}",
    "⅓": r"\frac{1}{3}",
    "⅔": r"\frac{2}{3}",
    "¼": r"\frac{1}{4}",
    "¾": r"\frac{3}{4}",
    "“": '"',
    "”": '"',
    "‘": "'",
    "’": "'",
    "⟨": r"\langle ",
    "⟩": r"\rangle ",
    "。": ".",
    "\u200b": "",
    "\u2060": "",
    "\ufeff": "",
}
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "0123456789+-")
_LOWERED = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_RAISED_RUN = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻]+")
_LOWERED_RUN = re.compile("[₀₁₂₃₄₅₆₇₈₉]+")
_ROOT = re.compile(r"([√∛∜])\s*(\{[^{}]*\}|\([^()]*\)|[0-9]+|[A-Za-z])")
_INDEX = {"√": "", "∛": "[3]", "∜": "[4]"}
_COMPOSED = re.compile("[\u2100-\u214f\u3300-\u33ff\ufb00-\ufb06\U0001d400-\U0001d7ff]")
"""Characters that stand for others: units in one sign, the letters and digits of mathematical alphabets."""

_WIDE = re.compile(f"[\u060c\u061b\u066a-\u066c\u2236\u3001\u3008-\u3011\uff01-\uff5e\uffe5{HAN}]")
_NARROW = str.maketrans(
    {chr(wide): chr(wide - 0xFEE0) for wide in range(0xFF01, 0xFF5F)}
    | {"、": ",", "「": '"', "」": '"', "『": '"', "』": '"', "【": " ", "】": ": ", "∶": ":", "￥": "¥"}
    | {"،": ",", "؛": ";", "٪": "%", "٫": ".", "٬": ","}
)
_BORDER = re.compile(rf"(?<=[{HAN}])(?=[A-Za-z0-9$\\])|(?<=[A-Za-z0-9$)}}%])(?=[{HAN}])")


def narrow(text: str) -> str:
    """The wide signs of Chinese, Japanese and Arabic as ASCII, and a blank where their letters meet ours.

    `答案是１２，` -> `答案是 12,`. The full stop `。` stays: it always ends a sentence, as "." does not.
    """
    if text.isascii() or not _WIDE.search(text):
        return text
    return _BORDER.sub(" ", text.translate(_NARROW))


def plain_characters(text: str) -> str:
    """The same text with the signs of other alphabets as ASCII or LaTeX: any script's digits, √, π, ², −, ≤."""
    if text.isascii():
        return text
    text = narrow(unicodedata.normalize("NFC", text))
    text = _RAISED_RUN.sub(lambda run: "^{" + run.group().translate(_RAISED) + "}", text)
    text = _LOWERED_RUN.sub(lambda run: "_{" + run.group().translate(_LOWERED) + "}", text)
    text = _ROOT.sub(lambda root: rf"\sqrt{_INDEX[root.group(1)]}{{{root.group(2).strip('{}')}}}", text)
    return "".join(character if character.isascii() else _plain(character) for character in text)


def _plain(character: str) -> str:
    """One character that is not ASCII."""
    if character in _SIGNS:
        return _SIGNS[character]
    if character.isspace():
        return " "
    digit = unicodedata.decimal(character, None)
    if digit is not None:
        return str(digit)
    if _COMPOSED.match(character):
        return "".join(_SIGNS.get(part, part) for part in unicodedata.normalize("NFKC", character))
    return character
