"""The operator's verbs as functions: what the command line, the HTTP API and the pages stand on."""
