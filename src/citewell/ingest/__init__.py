"""Bytes to searchable chunks."""
