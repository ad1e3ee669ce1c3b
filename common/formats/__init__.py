"""Job files in and out: each format a reader, a writer and a row of the registry. Pure, but for the loader."""
