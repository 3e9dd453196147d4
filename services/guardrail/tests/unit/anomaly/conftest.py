"""The contract's assertions tell what they saw."""

import pytest

pytest.register_assert_rewrite("anomaly_contract")
