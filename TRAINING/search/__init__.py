"""The search for a model's configuration: trials on purged folds of the development part, in a store that resumes."""
