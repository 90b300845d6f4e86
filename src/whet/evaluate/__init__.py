"""The fourth room: every stage's model on every domain's held-out text, beside floors, with intervals."""
