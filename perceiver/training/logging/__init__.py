"""Writes the metrics of a run and shows them while it trains."""
