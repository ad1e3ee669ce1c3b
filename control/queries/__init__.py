"""The read side: from Redis to records to results."""
