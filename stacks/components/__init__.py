"""Component resources that programs compose."""
