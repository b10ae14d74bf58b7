"""Calls that are kept on disk until their service takes them again."""
