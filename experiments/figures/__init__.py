"""Drawing code that several programs share."""
