"""What runs in a pod: it copies the parts of one Job index and reports them as it goes."""
