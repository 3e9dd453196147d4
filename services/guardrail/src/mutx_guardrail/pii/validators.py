"""Whether a value of a structured kind can be one: checksums, ranges, and what the issuer never gives out.

Each function takes the matched text and never raises.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import ModuleType
from typing import Final

import email_validator
from stdnum import bic, bitcoin, iban, luhn
from stdnum.exceptions import ValidationError

from mutx_guardrail.pii.keccak import keccak256

# Endings that stand behind an `@` in file names (`icon@2x.png`), never in addresses.
_FILE_ENDINGS: Final = frozenset(
    {
        "png",
        "jpg",
        "jpeg",
        "gif",
        "svg",
        "webp",
        "css",
        "js",
        "ts",
        "py",
        "json",
        "html",
        "yml",
        "yaml",
        "txt",
        "md",
    }
    | {"pdf", "exe", "dll", "zip", "gz"}
)

_LONGEST_EMAIL: Final = 320

# Ranges of issuer numbers and the lengths of the cards in them. Source: ISO/IEC 7812 and the networks' manuals.
_ISSUERS: Final = (
    (("34", "37"), (15,)),
    (tuple(str(n) for n in range(51, 56)), (16,)),
    (tuple(str(n) for n in range(2221, 2721)), (16,)),
    (("4",), (13, 16, 19)),
    (("6011", "64", "65", "622"), (16, 19)),
    (tuple(str(n) for n in range(3528, 3590)), (16, 19)),
    (("2131", "1800"), (15,)),
    (("300", "301", "302", "303", "304", "305", "3095", "36", "38", "39"), (14, 16)),
    (("62", "81"), (16, 17, 18, 19)),
    (("5018", "5020", "5038", "5893", "6304", "6759", "6761", "6762", "6763"), (16, 18, 19)),
    (("220",), (16,)),
)

# Source: IRS publication 1915.
_ITIN_GROUPS: Final = frozenset({*range(50, 66), *range(70, 89), *range(90, 93), *range(94, 100)})

# Source: American Bankers Association, routing number policy.
_DISTRICTS: Final = frozenset({*range(13), *range(21, 33), *range(61, 73), 80})


def digits_of(value: str) -> str:
    """Return the value's ASCII digits."""
    return "".join(c for c in value if "0" <= c <= "9")


def is_card(value: str) -> bool:
    """Say whether it is a payment card's number of a known issuer, of that issuer's length, with its check digit."""
    number = digits_of(value)
    known = any(len(number) in lengths and number.startswith(prefixes) for prefixes, lengths in _ISSUERS)
    return known and is_luhn(number)


def is_luhn(value: str) -> bool:
    """Say whether the check digit is right and not all digits are the same."""
    number = digits_of(value)
    return len(set(number)) > 1 and bool(luhn.is_valid(number))


def is_luhn_card(value: str) -> bool:
    """Say whether the number is as long as a card's and its check digit is right; the issuer may be unknown."""
    return 12 <= len(digits_of(value)) <= 19 and is_luhn(value)  # noqa: PLR2004 - ISO/IEC 7812


def is_iban(value: str) -> bool:
    """Say whether country, length and check digits are an IBAN's."""
    return _valid(iban, value, check_country=False)


def is_bic(value: str) -> bool:
    """Say whether it is built as a BIC, in capitals."""
    return value.isupper() and _valid(bic, value)


def is_bitcoin(value: str) -> bool:
    """Say whether the checksum (Base58Check, Bech32 or Bech32m) is a Bitcoin address's."""
    return _valid(bitcoin, value) or _is_taproot(value)


def is_email(value: str) -> bool:
    """Say whether it is an address by RFC 5321 and 6531, and none of a repository; no name server is asked."""
    if (
        len(value) > _LONGEST_EMAIL
        or value.startswith("git@")
        or value.rpartition(".")[2].lower() in _FILE_ENDINGS
    ):
        return False
    with suppress(email_validator.EmailNotValidError, UnicodeError):
        email_validator.validate_email(value, check_deliverability=False, globally_deliverable=False)
        return True
    return False


def is_ssn(value: str) -> bool:
    """Say whether the number can have been given out. Source: SSA, "Social Security number randomization"."""
    number = digits_of(value)
    area, group, serial = number[:3], number[3:5], number[5:]
    if area in {"000", "666"} or area >= "900" or group == "00" or serial == "0000":
        return False
    return len(set(number)) > 1 and number not in {"123456789", "078051120", "219099999"}


def is_itin(value: str) -> bool:
    """Say whether the number is in the ranges of ITINs."""
    number = digits_of(value)
    return number[0] == "9" and int(number[3:5]) in _ITIN_GROUPS


def is_routing(value: str) -> bool:
    """Say whether the ABA check digit is right and the first two digits are a Federal Reserve district's."""
    number = digits_of(value)
    weighted = sum(int(digit) * weight for digit, weight in zip(number, (3, 7, 1) * 3, strict=True))
    return weighted % 10 == 0 and int(number[:2]) in _DISTRICTS and number != "0" * 9


def is_ip(value: str) -> bool:
    """Say whether it is an address of a host: not loopback, unspecified, multicast, link-local or broadcast."""
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return False
    special = address.is_loopback or address.is_unspecified or address.is_multicast or address.is_link_local
    return not special and value != "255.255.255.255" and not value.startswith(("0.", "255."))


def is_mac(value: str) -> bool:
    """Say whether it is a device's address: neither all zeros nor all ones."""
    return len({c for c in value.lower() if c.isalnum()}) > 1


def is_coordinate_pair(value: str) -> bool:
    """Say whether latitude and longitude are in range."""
    latitude, longitude = (float(part) for part in value.replace(",", " ").replace(";", " ").split())
    return abs(latitude) <= 90 and abs(longitude) <= 180  # noqa: PLR2004 - degrees


def is_account(value: str) -> bool:
    """Say whether it is as long as a bank account's number (6 to 17 digits) and not one digit again and again."""
    number = digits_of(value)
    return 6 <= len(number) <= 17 and len(set(number)) > 1  # noqa: PLR2004 - NACHA's field is of 17


def is_document(value: str) -> bool:
    """Say whether a document's number is more than a word or a year: it has five digits at least."""
    return len(digits_of(value)) >= 5  # noqa: PLR2004


def is_nino(value: str) -> bool:
    """Say whether the prefix can have been given out. Source: HMRC, NIM39110."""
    prefix = value[:2].upper()
    return prefix not in {"BG", "GB", "NK", "KN", "TN", "NT", "ZZ"} and (value.isupper() or value.islower())


def is_german_card(value: str) -> bool:
    """Say whether nine characters with letters and digits are followed by their ICAO 9303 check digit, or by none."""
    if not any(c.isalpha() for c in value) or not any(c.isdigit() for c in value):
        return False
    if len(value) == len("L01X00T47"):
        return True
    total = sum(int(c, 36) * _ICAO_WEIGHTS[at % 3] for at, c in enumerate(value[:-1]))
    return total % 10 == int(value[-1])


def is_ethereum(value: str) -> bool:
    """Say whether an address of mixed case has the checksum that its capitals are. Source: EIP-55."""
    digits = value[2:]
    if digits.islower() or digits.isupper() or digits.isdigit():
        return len(set(digits)) > 1
    hashed = keccak256(digits.lower().encode()).hex()
    pairs = zip(digits, hashed, strict=False)
    return all(not c.isalpha() or c.isupper() == (int(h, 16) >= 8) for c, h in pairs)  # noqa: PLR2004 - its top bit


def is_dea(value: str) -> bool:
    """Say whether the check digit of a DEA registration is right."""
    numbers = [int(c) for c in value[2:]]
    total = sum(numbers[0:6:2]) + 2 * sum(numbers[1:6:2])
    return total % 10 == numbers[6] and any(numbers)


def is_npi(value: str) -> bool:
    """Say whether the check digit of a national provider identifier is right. Source: 45 CFR 162.406."""
    return bool(luhn.is_valid("80840" + digits_of(value)))


def is_nric(value: str) -> bool:
    """Say whether the check letter is right. Source: Singapore's ICA; the M series of 2022."""
    first, number, last = value[0].upper(), value[1:8], value[8].upper()
    shift = {"S": 0, "F": 0, "T": 4, "G": 4, "M": 3}[first]
    rest = (sum(int(c) * weight for c, weight in zip(number, _NRIC_WEIGHTS, strict=True)) + shift) % 11
    if first == "M":
        return "KLJNPQRTUWX"[10 - rest] == last
    return ("JZIHGFEDCBA" if first in "ST" else "XWUTRQPNMLK")[rest] == last


def is_medicare(value: str) -> bool:
    """Say whether the check digit of an Australian Medicare card is right."""
    number = digits_of(value)
    return sum(int(c) * weight for c, weight in zip(number, (1, 3, 7, 9) * 2, strict=False)) % 10 == int(
        number[8]
    )


def is_pan(value: str) -> bool:
    """Say whether an Indian account number is all in capitals or all small."""
    return value.isupper() or value.islower()


def is_rrn(value: str) -> bool:
    """Say whether check digit and birth of a Korean number are right; those of after October 2020 have none."""
    number = digits_of(value)
    total = sum(int(c) * weight for c, weight in zip(number, _RRN_WEIGHTS, strict=False))
    recent = number[6] in "34" and number[:2] >= "20"
    return is_birth_first(value) and (recent or (11 - total % 11) % 10 == int(number[12]))


def is_birth_first(value: str) -> bool:
    """Say whether the first six digits can be a date of birth (YYMMDD)."""
    return "01" <= value[2:4] <= "12" and "01" <= value[4:6] <= "31"


def is_snils(value: str) -> bool:
    """Say whether the check digits of a Russian pension insurance number are right."""
    number = digits_of(value)
    total = sum(int(c) * (9 - at) for at, c in enumerate(number[:9]))
    return total % 101 % 100 == int(number[9:]) and number[:9] > "001001998"


def is_plate(value: str) -> bool:
    """Say whether it has letters and digits, five or more together."""
    bare = [c for c in value if c.isalnum()]
    return len(bare) >= 5 and any(c.isdigit() for c in bare) and any(c.isalpha() for c in bare)  # noqa: PLR2004


def is_vin(value: str) -> bool:
    """Say whether the check digit of a vehicle's number is right. Source: ISO 3779; 49 CFR 565.15."""
    number = value.upper()
    if number.isdigit() or number.isalpha() or len(set(number)) < len(_VIN_WEIGHTS) // 3:
        return False
    total = sum(_vin_value(c) * weight for c, weight in zip(number, _VIN_WEIGHTS, strict=True))
    return "0123456789X"[total % 11] == number[8]


def anything(_value: str) -> bool:
    """Say yes: the form is enough."""
    return True


def by(module: ModuleType) -> Callable[[str], bool]:
    """Return the check that a module of python-stdnum makes."""
    return lambda value: _valid(module, value)


def _valid(module: ModuleType, value: str, **options: object) -> bool:
    try:
        module.validate(value, **options)
    except (ValidationError, ValueError, IndexError, KeyError, TypeError, AttributeError):
        return False
    return True


def _vin_value(c: str) -> int:
    return int(c) if c.isdigit() else (ord(c) - ord("A")) % 9 + 1 + (c >= "S")


_NRIC_WEIGHTS: Final = (2, 7, 6, 5, 4, 3, 2)
_RRN_WEIGHTS: Final = (2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5)
_VIN_WEIGHTS: Final = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)
_ICAO_WEIGHTS: Final = (7, 3, 1)
_BECH32: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_BECH32M: Final = 0x2BC830A3
_GENERATORS: Final = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)


def _is_taproot(value: str) -> bool:
    """Say whether the Bech32m checksum of a version 1 address is right. Source: BIP 350."""
    address = value.lower()
    if not address.startswith("bc1p") or any(c not in _BECH32 for c in address[3:]):
        return False
    checksum = 1
    for symbol in (3, 3, 0, 2, 3, *(_BECH32.index(c) for c in address[3:])):
        top = checksum >> 25
        checksum = (checksum & 0x1FFFFFF) << 5 ^ symbol
        for bit, generator in enumerate(_GENERATORS):
            checksum ^= generator if top >> bit & 1 else 0
    return checksum == _BECH32M


VALIDATORS: Final[Mapping[str, Callable[[str], bool]]] = {
    check.__name__: check
    for check in (
        anything,
        is_account,
        is_bic,
        is_bitcoin,
        is_birth_first,
        is_card,
        is_dea,
        is_ethereum,
        is_medicare,
        is_npi,
        is_nric,
        is_pan,
        is_plate,
        is_rrn,
        is_snils,
        is_vin,
        is_coordinate_pair,
        is_document,
        is_email,
        is_german_card,
        is_iban,
        is_ip,
        is_itin,
        is_luhn,
        is_luhn_card,
        is_mac,
        is_nino,
        is_routing,
        is_ssn,
    )
}
