"""The checksums that tell a number of a person or an account from any other number of that length.

Each function takes the number without separators and in capitals, and says whether it can be one. Sources: ISO/IEC 7812-1 (cards),
ISO 13616 (IBAN, registry of 2026), ISO 7064 (German tax id), Insee (French NIR), Orden INT/2058/2008 (Spanish DNI and NIE),
D.M. 23 December 1976 (Italian codice fiscale), the SSA's rules of 2011, and HMRC's manual NIM39110.
"""

from __future__ import annotations

# Countries by how long their IBANs are.
_IBANS = {
    15: "NO",
    16: "BE",
    18: "DK FI FK FO GL NL SD",
    19: "MK SI",
    20: "AT BA EE KZ LT LU MN XK",
    21: "CH HR LI LV",
    22: "BG BH CR DE GB GE IE ME RS VA",
    23: "AE GI IL IQ OM SO TL",
    24: "AD CZ ES MD PK RO SA SE SK TN VG",
    25: "LY PT ST",
    26: "IS TR",
    27: "BI DJ FR GR IT MC MR SM",
    28: "AL AZ BY CY DO GT HN HU LB NI PL SV",
    29: "BR EG PS QA UA",
    30: "JO KW MU YE",
    31: "MT SC",
    32: "LC",
    33: "RU",
}
_IBAN_LENGTHS = {
    country: length for length, countries in _IBANS.items() for country in countries.split()
}
_LETTERS_AS_NUMBERS = {
    ord(letter): str(number) for number, letter in enumerate("ABCDEFGHIJKLMNOPQRSTUVWXYZ", 10)
}
# twice the digit, and the sum of its digits if there are two
_DOUBLED = str.maketrans("0123456789", "0246813579")
_DNI_LETTERS = "TRWAGMYFPDXBNJZSQVHLCKE"
_CF_ODD = (
    1,
    0,
    5,
    7,
    9,
    13,
    15,
    17,
    19,
    21,
    2,
    4,
    18,
    20,
    11,
    3,
    6,
    8,
    12,
    14,
    16,
    10,
    22,
    25,
    24,
    23,
)
_NINO_NEVER = frozenset({"BG", "GB", "KN", "NK", "NT", "TN", "ZZ"})


def is_card(digits: str) -> bool:
    """A card number of one of the large schemes, by its beginning, its length and Luhn's sum."""
    return len(digits) in _card_lengths(digits) and _luhn(digits)


def _card_lengths(digits: str) -> tuple[int, ...]:
    two, three, four = int(digits[:2]), int(digits[:3]), int(digits[:4])
    if two // 10 == 4 or 51 <= two <= 55 or 2221 <= four <= 2720:
        return (16,)  # the few longer ones of Visa are left out: ids of 19 digits are everywhere
    if two in (34, 37):
        return (15,)
    if two in (36, 38, 39) or 300 <= three <= 305:
        return (14, 16)
    if two == 65 or four == 6011 or 644 <= three <= 649 or 3528 <= four <= 3589 or two == 62:
        return (16, 17, 18, 19)
    return ()


def _luhn(digits: str) -> bool:
    return (
        sum((digits[-2::-2].translate(_DOUBLED) + digits[::-2]).encode("ascii")) % 10
        == 48 * len(digits) % 10
    )


def iban_length(country: str) -> int:
    """How long an IBAN of this country is; 0 if it has none."""
    return _IBAN_LENGTHS.get(country, 0)


def is_iban(text: str) -> bool:
    """An IBAN: the right length for its country and the remainder 1."""
    if len(text) != iban_length(text[:2]):
        return False
    return int((text[4:] + text[:4]).translate(_LETTERS_AS_NUMBERS)) % 97 == 1


def is_us_ssn(digits: str) -> bool:
    """A number that the SSA may have given out; there is no check digit."""
    return (
        digits[:3] not in ("000", "666")
        and digits[0] != "9"
        and digits[3:5] != "00"
        and digits[5:] != "0000"
    )


def is_uk_nino(text: str) -> bool:
    """A national insurance number by its prefix and suffix; there is no check digit."""
    return (
        text[0] not in "DFIQUV"
        and text[1] not in "DFIOQUV"
        and text[:2] not in _NINO_NEVER
        and text[-1] in "ABCD"
    )


def is_fr_nir(text: str) -> bool:
    """A French social security number: 13 places and the key."""
    number = (
        text[:13].replace("2A", "19").replace("2B", "18")
        if text[5:7] in ("2A", "2B")
        else text[:13]
    )
    return number.isdigit() and int(text[13:]) == 97 - int(number) % 97


def is_es_dni(text: str) -> bool:
    """A Spanish DNI or, when it begins with X, Y or Z, a NIE."""
    number = str("XYZ".index(text[0])) + text[1:-1] if text[0] in "XYZ" else text[:-1]
    return _DNI_LETTERS[int(number) % 23] == text[-1]


def is_it_cf(text: str) -> bool:
    """An Italian codice fiscale by its last letter. Letters in place of digits (for people of equal code) count like any letter."""
    values = [int(entry) if entry.isdigit() else ord(entry) - 65 for entry in text[:15]]
    total = sum(_CF_ODD[value] if place % 2 == 0 else value for place, value in enumerate(values))
    return chr(65 + total % 26) == text[15]


def is_de_tax_id(digits: str) -> bool:
    """A German tax id: of the first ten digits exactly one occurs twice or three times, and the last is the check digit."""
    counts = sorted((digits[:10].count(text) for text in set(digits[:10])), reverse=True)
    if digits[0] == "0" or counts[0] not in (2, 3) or counts[1] != 1:
        return False
    product = 10
    for digit in digits[:10]:
        total = (int(digit) + product) % 10 or 10
        product = 2 * total % 11
    return (11 - product) % 10 == int(digits[10])
