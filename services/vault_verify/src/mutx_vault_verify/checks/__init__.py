"""What is looked at, one kind of thing a module. Each takes a source and an expectation, and yields checks."""
