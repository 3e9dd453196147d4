"""Steps of the schema, each with its way back. A step that has been released is not edited."""
