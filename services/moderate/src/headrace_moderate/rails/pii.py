"""Rail: personal data that has a form, checked by its checksum or numbering plan where it has one.

Names, addresses and other data that only a model could tell are left alone.
Sources: ISO/IEC 7812-1 (card numbers, Luhn), ISO 13616 and the SWIFT IBAN registry (IBAN, mod 97), SSA "Social Security
Number Randomization" (2011), RFC 5321 (addresses), ITU-T E.164 and the North American Numbering Plan (telephone).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from headrace_moderate.domain.verdicts import Finding, Rail, Subject

Kind = Literal["card_number", "iban", "us_ssn", "email", "phone"]

_GAP = r"[ .\-\u00a0\u2009\u202f\u2010-\u2015]"  # what people put between groups of digits
_CARD = re.compile(rf"(?<![\w.+])\d(?:{_GAP}?\d){{11,18}}(?![\w]|{_GAP}\d)")
_IBAN = re.compile(r"(?<![A-Za-z0-9])(?=([A-Za-z]{2}[0-9]{2}(?:[ \u00a0\-]?[A-Za-z0-9]){11,30}))")  # may overlap
_SSN = re.compile(r"(?<![\w.\-])(\d{3})([\-\u2010-\u2015 ]?)(\d{2})\2(\d{4})(?![\w\-]|\.\d)")
_SSN_NAMED = re.compile(r"\b(?:ssn|social[ -]security)\b", re.IGNORECASE)
_SSN_NAME_CHARS = 40  # how far before the number its name may stand
_EMAIL = re.compile(
    r"(?<![\w.+%\-])[A-Za-z0-9][\w.+%\-]{0,63}@(?:[A-Za-z0-9][A-Za-z0-9\-]{0,62}\.){1,8}[A-Za-z]{2,24}(?![\w@\-])"
)
_E164 = re.compile(rf"(?<![\w+])\+[1-9](?:{_GAP}?[(]?\d[)]?){{7,14}}(?![\w])")
_NANP = re.compile(
    r"(?<![\w.\-+(])(?:1[ .\-])?(?:\([2-9]\d{2}\) ?|[2-9]\d{2}([.\- ]))[2-9]\d{2}[.\-](?!\d{3}\b)\d{4}(?![\w\-])"
)

# Issuer ranges by prefix: (first, last, lengths). A Luhn sum alone would let one number in ten through.
_CARDS: tuple[tuple[int, int, tuple[int, ...]], ...] = (
    (4, 4, (13, 16, 19)),  # Visa
    (51, 55, (16,)), (2221, 2720, (16,)),  # Mastercard
    (34, 34, (15,)), (37, 37, (15,)),  # American Express
    (6011, 6011, (16, 19)), (644, 659, (16, 19)),  # Discover
    (300, 305, (14,)), (36, 36, (14,)), (38, 39, (14, 16)),  # Diners Club
    (3528, 3589, (16, 19)),  # JCB
    (62, 62, (16, 17, 18, 19)),  # UnionPay
    (5018, 5018, (12, 16, 19)), (5020, 5020, (12, 16, 19)), (5038, 5038, (12, 16, 19)), (6304, 6304, (12, 16, 19)),
    (6759, 6763, (12, 16, 19)),  # Maestro
)  # fmt: skip

# Characters of an IBAN by country.
_IBAN_COUNTRIES: Mapping[int, str] = {
    15: "NO", 16: "BE", 18: "DK FO FI GL NL SD", 19: "MK SI", 20: "AT BA EE KZ LT LU XK MN", 21: "CR CH HR LI LV",
    22: "BG BH DE GB GE IE ME RS VA", 23: "AE GI IL IQ TL OM SO", 24: "AD CZ ES MD PK RO SA SE SK TN VG",
    25: "LY PT ST", 26: "IS TR", 27: "BI DJ FR GR IT MC MR SM", 28: "AL AZ BY CY DO GT HU LB NI PL SV",
    29: "BR EG PS QA UA", 30: "JO KW MU YE", 31: "MT SC", 32: "LC", 33: "RU",
}  # fmt: skip
_IBAN_LENGTHS = {country: length for length, countries in _IBAN_COUNTRIES.items() for country in countries.split()}


@dataclass(frozen=True, slots=True)
class _Recogniser:
    mask: str
    find: Callable[[str], Iterable[tuple[int, int]]]


def build(*, kinds: Iterable[Kind] = get_args(Kind)) -> Rail:
    """Look for `kinds`; a masked text names the kind in brackets."""
    wanted = tuple(kinds)
    if unknown := set(wanted) - set(_RECOGNISERS):
        raise ValueError(f"unknown kinds {sorted(unknown)}")

    def pii(subject: Subject) -> Sequence[Finding]:
        return [
            Finding(kind, start, end, mask=_RECOGNISERS[kind].mask)
            for kind in wanted
            for start, end in _RECOGNISERS[kind].find(subject.text)
        ]

    return pii


def luhn_valid(digits: str) -> bool:
    """Check a digit string by the Luhn sum (ISO/IEC 7812-1, annex B)."""
    values = [int(digit) for digit in reversed(digits)]
    return sum(values[::2]) % 10 == -sum(sum(divmod(2 * value, 10)) for value in values[1::2]) % 10


def iban_valid(iban: str) -> bool:
    """Check a compact upper-case IBAN: its country's length, and 1 modulo 97 (ISO 7064)."""
    if _IBAN_LENGTHS.get(iban[:2]) != len(iban):
        return False
    return int("".join(str(int(character, 36)) for character in iban[4:] + iban[:4])) % 97 == 1


def _cards(text: str) -> Iterable[tuple[int, int]]:
    for match in _CARD.finditer(text):
        digits = _digits(match.group())
        if not _grouped_as_on_cards(match.group()):
            continue
        issued = any(
            len(digits) in lengths and first <= int(digits[: len(str(first))]) <= last
            for first, last, lengths in _CARDS
        )
        if issued and luhn_valid(digits):
            yield match.span()


def _ibans(text: str) -> Iterable[tuple[int, int]]:
    for match in _IBAN.finditer(text):
        start, compact, ends = match.start(), "", []
        for position, character in enumerate(match.group(1), start + 1):
            if character.isalnum():
                compact += character.upper()
                ends.append(position)
        # What follows an IBAN may look like more of it: the country says where it ends.
        length = _IBAN_LENGTHS.get(compact[:2], len(compact) + 1)
        if len(compact) >= length and iban_valid(compact[:length]) and not text[ends[length - 1] :][:1].isalnum():
            yield start, ends[length - 1]


def _ssns(text: str) -> Iterable[tuple[int, int]]:
    for match in _SSN.finditer(text):
        area, gap, group, serial = match.groups()
        issued = int(area) not in {0, 666} and int(area) < 900 and int(group) and int(serial)  # noqa: PLR2004 - never issued
        named = _SSN_NAMED.search(text, max(0, match.start() - _SSN_NAME_CHARS), match.start())
        # Nine digits with spaces or nothing between are a number of any kind, unless the text says which.
        if issued and (gap not in {"", " "} or named):
            yield match.span()


def _emails(text: str) -> Iterable[tuple[int, int]]:
    return (match.span() for match in _EMAIL.finditer(text) if ".." not in match.group()) if "@" in text else ()


def _phones(text: str) -> Iterable[tuple[int, int]]:
    if "+" in text:
        yield from (match.span() for match in _E164.finditer(text))
    yield from (match.span() for match in _NANP.finditer(text))


def _grouped_as_on_cards(text: str) -> bool:
    # One kind of gap, and groups of four or more (the last may be short) or of single digits: not a row of a table.
    groups = re.split(_GAP, text)
    gaps = {character for character in text if not character.isdecimal()}
    return len(gaps) <= 1 and (all(len(group) >= 4 for group in groups[:-1]) or {*map(len, groups)} == {1})  # noqa: PLR2004


def _digits(text: str) -> str:
    return "".join(str(int(character)) for character in text if character.isdecimal())


_RECOGNISERS: Mapping[str, _Recogniser] = {
    "card_number": _Recogniser("[card number]", _cards),
    "iban": _Recogniser("[IBAN]", _ibans),
    "us_ssn": _Recogniser("[social security number]", _ssns),
    "email": _Recogniser("[e-mail address]", _emails),
    "phone": _Recogniser("[telephone number]", _phones),
}
