"""The policy pack: rules that any program is held to, and how they are told to the engine."""
