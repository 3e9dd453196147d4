"""The language model that judges (layer 3), behind any OpenAI-compatible endpoint.

`judge.Judge` is the way in; `family` says which models are understood, and what each can tell.
"""
