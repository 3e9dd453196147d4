"""Service quotas of the sandbox: wide by default, and any value at once for whoever asks AWS's own way."""

from __future__ import annotations

import json
from typing import Any, TypeAlias

Moto: TypeAlias = Any
"""Something of moto's, which has no types for its backends."""

QUOTAS = {
    ("vpc", "L-F678F1CE"): 1000.0,
    ("vpc", "L-FE5A380F"): 1000.0,
    ("ec2", "L-0263D0A3"): 1000.0,
    ("ec2", "L-1216C47A"): 100_000.0,
    ("ec2", "L-DB2E81BA"): 10_000.0,
}
"""Value by service and code; moto knows AWS's defaults for VPCs alone, of which five are the limit."""


def widen_quotas() -> None:
    """Have every account and region start with these quotas, and `RequestServiceQuotaIncrease` grant at once."""
    from moto.servicequotas.exceptions import NoSuchResource  # noqa: PLC0415
    from moto.servicequotas.models import ServiceQuotasBackend  # noqa: PLC0415
    from moto.servicequotas.responses import ServiceQuotasResponse  # noqa: PLC0415

    def get(self: Moto, service_code: str, quota_code: str) -> dict[str, object]:
        key = (service_code, quota_code)
        value = getattr(self, "mutx_values", {}).get(key, QUOTAS.get(key))
        if value is None:
            raise NoSuchResource
        return {"ServiceCode": service_code, "QuotaCode": quota_code, "Value": value}

    def request_increase(self: Moto) -> str:
        asked = json.loads(self.body)
        key = (str(asked["ServiceCode"]), str(asked["QuotaCode"]))
        values = {**getattr(self.backend, "mutx_values", {}), key: float(asked["DesiredValue"])}
        self.backend.mutx_values = values
        granted = {"ServiceCode": key[0], "QuotaCode": key[1], "DesiredValue": values[key]}
        return json.dumps({"RequestedQuota": {**granted, "Status": "APPROVED"}})

    # By name: mypy knows the classes, and not that they may be changed.
    setattr(ServiceQuotasBackend, "get_service_quota", get)  # noqa: B010
    setattr(ServiceQuotasResponse, "request_service_quota_increase", request_increase)  # noqa: B010
