"""Run folders: what was done, in files that are whole, sealed and locked. Nothing here knows of models."""
