"""Point clouds: ModelNet40 and one's own, and what is done to them (Sec. 4.3)."""
