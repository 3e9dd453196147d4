"""The compliance suites: one test a control, run by pytest-testinfra against any inventory.

mutx-infra hosts inventory acme > inventory.json
pytest --pyargs mutx_infra.compliance --hosts=ansible://all --ansible-inventory=inventory.json --evidence checks.jsonl
"""
