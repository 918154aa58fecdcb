"""The Fréchet video distance (Unterthiner et al. 2018) and the protocols of published tools."""
