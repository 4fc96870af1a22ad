"""Metrics of a run: written, shown while it trains, and drawn."""
