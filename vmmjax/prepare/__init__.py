"""Writes a store: sources of clips, the catalog, columns, shards, runners, verification."""
