"""One server for the tests of a file, with keys of each test's own."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("anomaly_contract")
