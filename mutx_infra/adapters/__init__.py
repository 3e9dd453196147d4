"""Vendors behind the ports: Pulumi, AWS, SQL, YAML files. Only `bootstrap` chooses among them."""
