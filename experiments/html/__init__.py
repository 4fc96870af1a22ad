"""The page of HTML that `experiments.report` writes of runs."""
