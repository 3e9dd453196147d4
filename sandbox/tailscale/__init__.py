"""A stand-in for the official `tailscale` Pulumi provider, for machines that cannot download it.

A gRPC `ResourceProvider` (`mutx_sandbox.bridge`) whose knowledge of Tailscale's API v2 is a declarative `table`.
"""
