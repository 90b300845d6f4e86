"""The strict YAML recipe: reading, checking, overriding, resolving."""
