"""Tools for working on the project; nothing here is part of what is installed."""
