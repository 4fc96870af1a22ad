"""Times a config on this machine."""
