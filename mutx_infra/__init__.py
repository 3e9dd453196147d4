"""The rules and use cases of mutx-infra; vendors live behind `mutx_infra.adapters`."""
