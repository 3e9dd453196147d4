"""What stand-ins for official Pulumi providers have in common: values on the wire, checks, differences, serving.

A stand-in describes its resource types as data (`properties`), subclasses `provider.Provider` for what an RPC means
for its API, and hands that to `serve`.
"""
