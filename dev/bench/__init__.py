"""`make bench`: the worker beside what people would use instead, on the same stores, in one run."""
