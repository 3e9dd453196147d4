"""An agent's behaviour over time (GUARD-4): how often it is asked, how long it answers, how often it fails, of what.

`watch.Anomaly` is the way in. What is remembered lies in a `store.Store`: Redis, shared by the replicas; a file, kept
over restarts like it; or the process's memory.
"""
