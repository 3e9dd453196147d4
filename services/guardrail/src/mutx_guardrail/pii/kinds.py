"""The kinds of personal data that are told apart; named as Presidio names them, where it does."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """What a span is."""

    EMAIL_ADDRESS = "EMAIL_ADDRESS"
    PHONE_NUMBER = "PHONE_NUMBER"
    CREDIT_CARD = "CREDIT_CARD"
    IBAN_CODE = "IBAN_CODE"
    SWIFT_CODE = "SWIFT_CODE"
    US_BANK_NUMBER = "US_BANK_NUMBER"
    ABA_ROUTING_NUMBER = "ABA_ROUTING_NUMBER"
    UK_SORT_CODE = "UK_SORT_CODE"
    US_SSN = "US_SSN"
    US_ITIN = "US_ITIN"
    PASSPORT = "PASSPORT"
    DRIVER_LICENSE = "DRIVER_LICENSE"
    UK_NHS = "UK_NHS"
    UK_NINO = "UK_NINO"
    NATIONAL_ID = "NATIONAL_ID"
    ES_NIF = "ES_NIF"
    ES_NIE = "ES_NIE"
    IT_FISCAL_CODE = "IT_FISCAL_CODE"
    PL_PESEL = "PL_PESEL"
    FI_PERSONAL_IDENTITY_CODE = "FI_PERSONAL_IDENTITY_CODE"
    IT_VAT_CODE = "IT_VAT_CODE"
    VAT_NUMBER = "VAT_NUMBER"
    MEDICAL_LICENSE = "MEDICAL_LICENSE"
    US_NPI = "US_NPI"
    US_MBI = "US_MBI"
    SG_NRIC_FIN = "SG_NRIC_FIN"
    SG_UEN = "SG_UEN"
    AU_ABN = "AU_ABN"
    AU_ACN = "AU_ACN"
    AU_TFN = "AU_TFN"
    AU_MEDICARE = "AU_MEDICARE"
    IN_PAN = "IN_PAN"
    IN_AADHAAR = "IN_AADHAAR"
    IN_VOTER = "IN_VOTER"
    IN_GSTIN = "IN_GSTIN"
    KR_RRN = "KR_RRN"
    KR_FRN = "KR_FRN"
    TH_TNIN = "TH_TNIN"
    BR_CPF = "BR_CPF"
    BR_CNPJ = "BR_CNPJ"
    LEI = "LEI"
    LICENSE_PLATE = "LICENSE_PLATE"
    VIN = "VIN"
    IMEI = "IMEI"
    IP_ADDRESS = "IP_ADDRESS"
    MAC_ADDRESS = "MAC_ADDRESS"
    URL = "URL"
    CRYPTO = "CRYPTO"
    DATE_OF_BIRTH = "DATE_OF_BIRTH"
    STREET_ADDRESS = "STREET_ADDRESS"
    ZIP_CODE = "ZIP_CODE"
    COORDINATE = "COORDINATE"
    PERSON = "PERSON"
    LOCATION = "LOCATION"
    ORGANIZATION = "ORGANIZATION"
    NRP = "NRP"
    DATE_TIME = "DATE_TIME"


# Not asked for unless a policy names them: organisations and dates are seldom personal by themselves.
# Nor the numbers of companies, unless they are one person's as Brazil's and Italy's may be.
OFF_BY_DEFAULT: Final = frozenset(
    {Kind.ORGANIZATION, Kind.DATE_TIME, Kind.NRP, Kind.LEI, Kind.SG_UEN, Kind.AU_ACN}
)

DEFAULT_KINDS: Final = frozenset(Kind) - OFF_BY_DEFAULT

# Presidio's names for what is one kind here, so that a policy may be taken over as it is.
ALIASES: Final = {
    "US_PASSPORT": Kind.PASSPORT,
    "UK_PASSPORT": Kind.PASSPORT,
    "IT_PASSPORT": Kind.PASSPORT,
    "DE_PASSPORT": Kind.PASSPORT,
    "US_DRIVER_LICENSE": Kind.DRIVER_LICENSE,
    "IT_DRIVER_LICENSE": Kind.DRIVER_LICENSE,
    "IT_IDENTITY_CARD": Kind.NATIONAL_ID,
    "IN_PASSPORT": Kind.PASSPORT,
    "KR_PASSPORT": Kind.PASSPORT,
    "KR_DRIVER_LICENSE": Kind.DRIVER_LICENSE,
    "NG_NIN": Kind.NATIONAL_ID,
    "UK_POSTCODE": Kind.ZIP_CODE,
    "UK_VEHICLE_REGISTRATION": Kind.LICENSE_PLATE,
    "IN_VEHICLE_REGISTRATION": Kind.LICENSE_PLATE,
    "NG_VEHICLE_REGISTRATION": Kind.LICENSE_PLATE,
    "GPE": Kind.LOCATION,
    "ADDRESS": Kind.STREET_ADDRESS,
    "DOMAIN_NAME": Kind.URL,
}
