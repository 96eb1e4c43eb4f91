"""Copy one S3 object of any size to another store, over many small pods, declared as a resource."""

__version__ = "0.1.0"
