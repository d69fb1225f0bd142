"""Studies on made-up truths: what the uncertainty that the library reports is worth."""
