"""Layer 0: the text made readable: unseen characters gone, look-alikes folded, encodings undone; offsets kept."""
