"""Job files in and out: crontabs and YAML, each a reader and a writer. Pure, but for the loader."""
