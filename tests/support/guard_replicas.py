"""Two replicas of a guard as one process: `guard_replicas.py HOST CERTIFICATE KEY CA PASSWORD-FILE`.

Prints which of 103 requests to an agent passed, in turn at both, as `100 of 103`, or why the store did not answer.
"""

from __future__ import annotations

import sys
from pathlib import Path

from mutx_guardrail.anomaly.shared import RedisSettings, open_store
from mutx_guardrail.anomaly.watch import Anomaly
from mutx_guardrail.policy import Anomaly as Limits
from mutx_service.settings import TlsFiles
from pydantic import SecretStr


def main(host: str, certificate: str, key: str, ca: str, password_file: str) -> str:
    settings = RedisSettings(
        SecretStr(f"rediss://guard@{host}:6379/0"),
        TlsFiles(Path(certificate), Path(key), Path(ca)),
        Path(password_file),
    )
    watches = [Anomaly(open_store(settings, "REDIS_CERTIFICATE"), lambda _event: None) for _ in range(2)]
    checks = [watches[at % 2].admit("agent-1", Limits()) for at in range(103)]
    lost = next((check.details for check in checks if check.unavailable), "")
    return lost or f"{sum(check.passed for check in checks)} of {len(checks)}"


if __name__ == "__main__":
    sys.stdout.write(main(*sys.argv[1:]) + "\n")
