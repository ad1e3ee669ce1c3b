"""Why an instant ran, or did not: the verdict and its sentences. Pure."""
