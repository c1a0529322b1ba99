"""From a request to a plan, from a plan to results that survive a crash."""
