"""The command line: parser, config overrides, suggestions, exit statuses and start-up."""
