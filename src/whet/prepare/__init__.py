"""The first room: raw material in, clean, deduplicated, split and tokenized documents out."""
