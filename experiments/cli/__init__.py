"""The command line: parsing, suggestions, errors and exit statuses, config files, start-up."""
