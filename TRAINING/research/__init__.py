"""Research on what was found: the audit that looks for what knows the future."""
