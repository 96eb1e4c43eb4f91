"""The resource and its contracts as Python: names, spec, status, conditions, the worker's task and report."""
