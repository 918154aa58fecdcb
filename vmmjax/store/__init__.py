"""Reads a store: catalog, columns, records, and a local cache of remote ones. No codec, no JAX."""
