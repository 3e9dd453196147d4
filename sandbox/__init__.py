"""The local cloud: AWS made of real parts on loopback, emitting an ordinary environment profile.

Production packages never import this one; it writes standard knobs (endpoints, ports, files) and they read those.
"""
