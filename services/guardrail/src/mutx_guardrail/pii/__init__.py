"""Personal data: structured kinds by patterns and validators, names by a model, and masks for both."""
