"""What the model calls of one run share: who pays for them, and the answers that are kept."""
