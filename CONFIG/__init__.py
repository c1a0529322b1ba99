"""Configuration: strict YAML, resolved into plain dictionaries."""
