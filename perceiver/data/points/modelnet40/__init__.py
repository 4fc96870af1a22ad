"""ModelNet40 and ModelNet10 in every layout in which they are distributed (Sec. 4.3)."""
