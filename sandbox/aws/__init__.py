"""A stand-in for the official `aws` Pulumi provider, for machines that cannot download it.

A gRPC `ResourceProvider` whose knowledge of AWS is a declarative table (`table_*`) over botocore's own shapes.
"""
