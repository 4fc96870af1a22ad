"""What starts `python -m experiments...`: on this machine, on a cluster, on a pod, as a sweep."""
