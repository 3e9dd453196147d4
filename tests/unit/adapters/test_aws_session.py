"""What botocore raises becomes an error with a code and a remedy; credentials that ran out are told apart."""

from __future__ import annotations

import pytest
from botocore import exceptions

from mutx_infra.adapters.aws_session import translated
from mutx_infra.errors import OutsideError, RefusedError


@pytest.mark.parametrize(
    "raised",
    [
        exceptions.NoCredentialsError(),
        exceptions.UnauthorizedSSOTokenError(),
        exceptions.SSOTokenLoadError(error_msg="no token"),
        exceptions.TokenRetrievalError(provider="sso", error_msg="expired"),
        exceptions.CredentialRetrievalError(provider="custom-process", error_msg="exit status 1"),
        *(
            exceptions.ClientError({"Error": {"Code": code, "Message": "no"}}, "GetCallerIdentity")
            for code in (
                "ExpiredToken",
                "ExpiredTokenException",
                "RequestExpired",
                "InvalidClientTokenId",
                "UnrecognizedClientException",
                "InvalidAccessKeyId",
            )
        ),
    ],
    ids=lambda raised: getattr(raised, "response", {}).get("Error", {}).get("Code") or type(raised).__name__,
)
def test_credentials_that_are_not_good_are_refused_with_what_to_do(raised: Exception) -> None:
    with pytest.raises(RefusedError) as caught, translated("say which account this is"):
        raise raised

    assert (caught.value.code, caught.value.exit_status) == ("aws-credentials", 4)
    assert "sign in" in caught.value.remedy


def test_an_aws_that_cannot_be_reached_is_none_of_that() -> None:
    with pytest.raises(OutsideError) as caught, translated("list the VPCs"):
        raise exceptions.EndpointConnectionError(endpoint_url="http://127.0.0.1:9")

    assert caught.value.code == "aws-unreachable"
