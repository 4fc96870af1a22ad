"""Fits a linear model and a nearest neighbour to the data of a config, for comparison."""
